"""The probe as a callback of trainers."""
