"""Data sets of noise, in the shapes of the real ones."""

from __future__ import annotations

from typing import Any

import torch


class Images(torch.utils.data.Dataset):  # type: ignore[type-arg]
    shape = (1, 28, 28)
    n_classes = 10

    def __init__(
        self, root: object = "", train: bool = True, transform: Any = None, target_transform: Any = None, **_: object
    ) -> None:
        generator = torch.Generator().manual_seed(int(train))
        self.images = torch.randint(0, 256, (512, *self.shape), dtype=torch.uint8, generator=generator)
        self.targets: Any = torch.randint(0, self.n_classes, (512,), generator=generator)
        self.classes = [str(number) for number in range(self.n_classes)]
        self.transform, self.target_transform = transform, target_transform

    @property
    def data(self) -> Any:
        return self.images.squeeze(1) if self.shape[0] == 1 else self.images.permute(0, 2, 3, 1).numpy()

    train_data = test_data = data
    train_labels = test_labels = labels = property(lambda self: self.targets)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> tuple[Any, int]:
        image: Any = self.images[number].float() / 255
        return (self.transform(image) if self.transform else image), int(self.targets[number])


class MNIST(Images):
    pass


class FashionMNIST(Images):
    pass


class CIFAR10(Images):
    shape = (3, 32, 32)


class CIFAR100(CIFAR10):
    n_classes = 100


class ImageFolder(CIFAR10):
    n_classes = 2


class FakeData(CIFAR10):
    def __init__(self, *_: object, transform: Any = None, image_size: Any = None, **__: object) -> None:
        if image_size:
            self.shape = image_size
        super().__init__(transform=transform)


class LSUN(CIFAR10):
    pass
