"""The same environment under the name of today."""

from gym import make as make
