"""The generator of images: shapes, what normalises them, and what learns."""

import pytest
import torch

from effdl.distill.generator import Generator


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (16, 3), (32, 1)])
def test_images_have_the_size_and_the_channels_asked_for(size, channels):
    net = Generator(5, width=4, size=size, channels=channels)
    assert net(net.noise(3)).shape == (3, channels, size, size)


def test_a_batch_has_mean_0_and_variance_1_in_every_channel():
    net = Generator(8, width=4, channels=2)
    images = net(net.noise(50))
    torch.testing.assert_close(
        images.mean((0, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0
    )
    variance = images.var((0, 2, 3), correction=0)
    torch.testing.assert_close(variance, torch.ones(2), atol=1e-2, rtol=0)
    assert net.image_norm.weight is None


def test_the_noise_is_standard_normal_and_new_every_time():
    net = Generator(100, width=2)
    z, again = net.noise(500), net.noise(500)
    assert z.shape == (500, 100)
    assert not torch.equal(z, again)
    assert abs(z.mean()) < 0.02
    assert abs(z.std() - 1) < 0.02


def test_other_numbers_give_other_images_and_the_same_the_same():
    net = Generator(8, width=4).eval()
    z = net.noise(2)
    images = net(z)
    assert torch.equal(images, net(z))
    assert (images[0] - images[1]).abs().max() > 1e-3


def test_resolution_doubles_twice():
    net, seen = Generator(8, width=4, size=16), []
    for block in (net.first, net.second):
        block.register_forward_hook(lambda _m, _x, y: seen.append(y.shape[1:]))
    net(net.noise(2))
    assert [tuple(shape) for shape in seen] == [(4, 8, 8), (2, 16, 16)]


def test_gradients_reach_every_parameter():
    net = Generator(8, width=4)
    net(net.noise(4)).pow(3).sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in net.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"latent": 0}, "latent must be at least 1, got 0"),
        ({"size": 18}, "doublings=4 must divide size, got 18"),
        ({"width": 5}, "halves=2 must divide width, got 5"),
        ({"channels": 0}, "channels must be at least 1"),
    ],
)
def test_bad_sizes_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Generator(**arguments)
