import copy
import math
import statistics

import pytest
import torch
from neuralop.layers.spectral_convolution import SpectralConv
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import gelu

from multilevel_diffusion import networks
from multilevel_diffusion.grids import Torus, prolong, squared_norm
from multilevel_diffusion.networks import FNO, SpectralConvolution, UNet
from multilevel_diffusion.storage import generator


def paper_fno(seed=0):
    return FNO(width=32, layers=4, modes=14, head=128, generator=generator(seed))


def small_fno(seed=0):
    return FNO(width=8, layers=3, modes=5, head=16, generator=generator(seed))


def convolved(layer, fields):
    """K v of fields (batch, C, N, N), of that shape."""
    v = fields.permute(0, 3, 2, 1)
    return layer(v, layer.matrices(v.shape[1]), torch.zeros(v.shape, dtype=v.dtype)).permute(0, 3, 2, 1)


def smooth_field(n, modes=4, seed=1):
    """The values on n points of one random trigonometric polynomial of degree `modes`."""
    coarse = Torus(2 * modes + 1)
    u = torch.randn(2, coarse.resolution, coarse.resolution, generator=generator(seed), dtype=torch.float64)
    return prolong(u, coarse, Torus(n))


def multipliers(layer):
    """The W_k of a layer as complex numbers, (C, C, 2m, m)."""
    return torch.complex(*layer.weight.detach()).permute(2, 3, 0, 1)


@pytest.mark.parametrize(("n", "m"), [(16, 5), (32, 14), (64, 14), (50, 12)])
def test_the_spectral_convolution_equals_neuraloperators_on_even_grids(n, m):
    ours = SpectralConvolution(6, m)
    theirs = SpectralConv(6, 6, (2 * m, 2 * m - 2), bias=False)
    v = torch.randn(3, 6, n, n, generator=generator(0))
    with torch.no_grad():
        theirs.weight.to_tensor().copy_(multipliers(ours))
        out = convolved(ours, v)
        reference = theirs(v)
    assert (out - reference).norm() / reference.norm() < 1e-5


@pytest.mark.parametrize("n", [9, 16, 31, 32])
def test_the_spectral_convolution_multiplies_every_mode_by_its_matrix(n):
    """Against the definition on the full FFT lattice, in float64, on odd and even grids."""
    m, c = 5, 3
    layer = SpectralConvolution(c, m).double()
    weight = multipliers(layer)
    v = torch.randn(2, c, n, n, generator=generator(2), dtype=torch.float64)
    spectrum = torch.fft.fft2(v, norm="forward")
    out = torch.zeros(2, c, n, n, dtype=torch.complex128)
    x = torch.arange(n, dtype=torch.float64) / n
    for k1 in range(-m, m):
        for k2 in range(m):
            if 2 * abs(k1) < n and 2 * k2 < n:
                y = torch.einsum("bi,io->bo", spectrum[:, :, k1, k2], weight[:, :, k1 + m, k2])
                wave = torch.exp(2j * torch.pi * (k1 * x[:, None] + k2 * x))
                out += (1 if k2 == 0 else 2) * y[:, :, None, None] * wave
    with torch.no_grad():
        ours = convolved(layer, v)
    torch.testing.assert_close(ours, out.real, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("coarse", "fine"), [(16, 32), (15, 32), (17, 51), (31, 50)])
def test_the_spectral_convolution_commutes_with_prolongation_exactly(coarse, fine):
    """The linear part of the network is one operator on every grid, odd ones included: no error at all."""
    layer = SpectralConvolution(4, 5)
    u = torch.randn(3, 4, 13, 13, generator=generator(3))
    on = {n: prolong(u, Torus(13), Torus(n)) for n in (coarse, fine)}
    with torch.no_grad():
        out = {n: convolved(layer, v) for n, v in on.items()}
    torch.testing.assert_close(prolong(out[coarse], Torus(coarse), Torus(fine)), out[fine], rtol=0, atol=1e-5)


def without_coordinates(network):
    """The network with its two coordinate channels cut: translation equivariant."""
    with torch.no_grad():
        network.lift.weight[:, 1:3] = 0
    return network.double()


def aliasing(network, n):
    """Relative L² distance of N(u on n) and N(u on 4n) at the common points."""
    t = torch.full((2,), 0.5, dtype=torch.float64)
    with torch.no_grad():
        coarse = network(5 * smooth_field(n), t, Torus(n))
        fine = network(5 * smooth_field(4 * n), t, Torus(4 * n))[:, ::4, ::4]
    return (squared_norm(coarse - fine).sum() / squared_norm(fine).sum()).sqrt().item()


def test_the_network_commutes_with_prolongation_up_to_its_own_aliasing():
    """On band-limited input only the GELU makes new modes: the difference falls faster than any power of 1/N."""
    network = without_coordinates(small_fno())
    errors = [aliasing(network, n) for n in (12, 24, 48)]
    assert errors[0] < 1e-2
    assert errors[1] < errors[0] / 50
    assert errors[2] < errors[1] / 200


def test_the_coordinates_jump_makes_the_network_first_order_in_the_grid():
    """x₁ and x₂ are not periodic: their jump is seen to 1/N, and no grid, odd or even, stands out."""
    network = small_fno().double()
    even, odd = ([aliasing(network, n) for n in sizes] for sizes in ((16, 32, 64), (17, 33, 65)))
    for errors in (even, odd):
        assert 0.3 < errors[1] / errors[0] < 0.75
        assert 0.3 < errors[2] / errors[1] < 0.75
    assert odd[1] == pytest.approx(even[1], rel=0.2)


@pytest.mark.parametrize("n", [16, 17])
def test_without_coordinates_the_network_commutes_with_shifts(n):
    network = without_coordinates(small_fno())
    u, t = smooth_field(n), torch.full((2,), 0.3, dtype=torch.float64)
    with torch.no_grad():
        shifted = network(u.roll((3, -2), (1, 2)), t, Torus(n))
        torch.testing.assert_close(shifted, network(u, t, Torus(n)).roll((3, -2), (1, 2)), rtol=0, atol=1e-6)


def test_the_first_axis_is_the_first_coordinate():
    """With the field and x₂ cut, the output varies along the first axis only."""
    network = small_fno()
    with torch.no_grad():
        network.lift.weight[:, 0] = 0
        network.lift.weight[:, 2] = 0
        out = network(torch.zeros(1, 16, 16), torch.zeros(1), Torus(16))[0]
    assert out.std(dim=1).max() < 1e-5
    assert out.std(dim=0).min() > 1e-4


def test_the_paper_network_has_the_papers_size_and_initial_weights():
    network = paper_fno()
    assert sum(p.numel() for p in network.parameters()) == 3_220_001
    for layer in network.spectral:
        weight = layer.weight.detach() * 1024
        assert weight.min() >= 0
        assert weight.max() < 1
        assert weight.mean() == pytest.approx(0.5, abs=0.01)


def test_initial_weights_come_from_their_generator_alone():
    before = torch.get_rng_state()
    first, again, other = paper_fno(1).state_dict(), paper_fno(1).state_dict(), paper_fno(2).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not any(torch.equal(first[key], other[key]) for key in first)


def test_a_field_does_not_depend_on_its_batch():
    network = paper_fno()
    u, t = torch.randn(5, 33, 33, generator=generator(4)), torch.rand(5, generator=generator(5))
    with torch.no_grad():
        together = network(u, t, Torus(33))
        alone = torch.cat([network(u[i : i + 1], t[i : i + 1], Torus(33)) for i in range(5)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("n", [32, 33, 50, 51, 64])
def test_cpu_and_gpu_agree(n):
    network = paper_fno()
    u, t = torch.randn(4, n, n, generator=generator(6)), torch.rand(4, generator=generator(7))
    with torch.no_grad():
        on_cpu = network(u, t, Torus(n))
        on_gpu = network.cuda()(u.cuda(), t.cuda(), Torus(n)).cpu()
    assert (on_cpu - on_gpu).norm() / on_cpu.norm() < 1e-5


@pytest.fixture(scope="module")
def unet():
    return UNet((32, 64), 2, 32, generator(1, "unet"))


def test_the_u_net_has_the_parameters_of_the_paper(unet):
    assert sum(parameter.numel() for parameter in unet.parameters()) == 901_121


def test_the_u_net_normalises_in_groups_and_has_no_attention(unet):
    norms = [module for module in unet.modules() if isinstance(module, torch.nn.GroupNorm)]
    assert {(norm.num_groups, norm.eps) for norm in norms} == {(32, 1e-6)}
    other = UNet((32, 64), 1, 8, generator(1, "unet"))
    assert {norm.num_groups for norm in other.modules() if isinstance(norm, torch.nn.GroupNorm)} == {8}
    assert not [module for module in unet.modules() if "ttention" in type(module).__name__]


def test_the_u_net_starts_near_zero_and_depends_on_values_and_time_once_it_is_trained(unet):
    values, t = torch.randn(3, 16, 16, generator=generator(1, "values")), torch.tensor([0.1, 0.5, 0.9])
    assert unet(values, t, Torus(16)).abs().max() < 1e-3
    trained = copy.deepcopy(unet)
    with torch.no_grad():
        for module in trained.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.reset_parameters()
    out = trained(values, t, Torus(16))
    assert out.shape == values.shape
    assert (trained(values, t / 2, Torus(16)) - out).abs().amax((1, 2)).min() > 1e-4
    assert (trained(2 * values, t, Torus(16)) - out).abs().amax((1, 2)).min() > 1e-2
    torch.testing.assert_close(trained(values[1:], t[1:], Torus(16)), out[1:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("groups", "order"), [(32, -1), (4, 0)])
def test_with_a_group_a_channel_the_u_net_sees_the_mean_of_a_field_at_its_border_only(groups, order):
    """The mean of its output over that of its input: of order N^-1 as the border shrinks, and of order 1 in larger groups."""
    t, orders = torch.full((2,), 0.5), []
    for seed in range(8):
        network, stream, response = UNet((32,), 1, groups, generator(1, "unet")), generator(seed), []
        with torch.no_grad():
            for module in network.modules():
                if isinstance(module, torch.nn.Conv2d):
                    module.weight.normal_(0, module.weight[0].numel() ** -0.5, generator=stream)
            for n in (16, 64):
                values = torch.randn(2, n, n, generator=stream)
                lower, upper = (network(values + shift, t, Torus(n)).mean() for shift in (-0.1, 0.1))
                response.append((upper - lower).abs().item())
        orders.append(math.log(response[1] / response[0]) / math.log(64 / 16))
    assert statistics.median(orders) == pytest.approx(order, abs=0.3)


def test_the_u_net_sees_the_raw_time_as_ddpm_does(unet):
    """sin(ω_i t), then cos(ω_i t), with ω_i = 10000^(−i/(h−1)), i = 0 … h − 1."""
    t, half = torch.tensor([0.0, 0.3, 1.0]), 16
    angle = t[:, None] * 10_000 ** (-torch.arange(half) / (half - 1))
    torch.testing.assert_close(unet.unet.time_proj(t), torch.cat([angle.sin(), angle.cos()], dim=1))


def test_the_u_net_takes_the_weights_of_its_generator_and_leaves_the_global_one_alone():
    before = torch.get_rng_state()
    first, again, other = (UNet((8, 16), 1, 4, generator(seed, "unet")) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    weights = [next(network.parameters()) for network in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_grid_that_the_levels_of_the_u_net_do_not_halve_is_refused(unet):
    values = torch.zeros(1, 33, 33)
    with pytest.raises(ValueError, match="needs a resolution that 2 divides, not 33"):
        unet(values, torch.zeros(1), Torus(33))


@pytest.mark.parametrize("n", [8, 9, 15])
def test_modes_a_grid_does_not_resolve_are_left_out(n):
    """A network with more modes than the grid computes what it computes with the others at zero."""
    layer = SpectralConvolution(3, 6)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator(1, "weights")))
        fields = torch.randn(2, 3, n, n, generator=generator(1, "fields"))
        out = convolved(layer, fields)
        k1, k2 = torch.arange(-6, 6)[:, None], torch.arange(6)
        weight = multipliers(layer)
        layer.weight[:, (2 * k1.abs() >= n) | (2 * k2 >= n)] = 0
        torch.testing.assert_close(convolved(layer, fields), out, rtol=0, atol=0)
        spectrum = torch.fft.fft2(fields, norm="forward")  # (batch, channel, k₁, k₂)
        expected = torch.zeros(2, 3, n, n)
        x = torch.arange(n) / n
        for a in range(-6, 6):
            for b in range(6):
                if 2 * abs(a) < n and 2 * b < n:
                    y = spectrum[:, :, a, b] @ weight[:, :, a + 6, b]
                    wave = torch.exp(2j * math.pi * (a * x[:, None] + b * x))
                    expected += (2 if b else 1) * (wave * y[:, :, None, None]).real
        torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)


def pair(seed=0):
    return FNO(width=8, layers=3, modes=5, head=16, generator=generator(seed), fields=2)


@pytest.mark.parametrize("n", [8, 9, 16, 17, 32])
def test_the_output_of_two_fields_starts_as_zero_and_does_not_stay_there(n):
    networks = [pair()] + ([UNet((8, 16), 1, 4, generator(1, "unet"), fields=2)] if n % 2 == 0 else [])
    values, t = torch.randn(3, 2, n, n, generator=generator(1, "values")), torch.tensor([0.1, 0.5, 0.9])
    for network in networks:
        out = network(values, t, Torus(n))
        assert out.shape == (3, n, n)
        assert (out == 0).all()
        (out - 1).square().sum().backward()
        assert any(p.grad is not None and p.grad.abs().max() > 0 for p in network.parameters())
        with torch.no_grad():
            for p in network.parameters():
                p.copy_(torch.randn(p.shape, dtype=p.dtype, generator=generator(3)) / 10)
        out = network(values, t, Torus(n))
        for i in range(2):  # it sees both fields
            changed = values.clone()
            changed[:, i] += 1
            assert (network(changed, t, Torus(n)) - out).abs().amax((1, 2)).min() > 1e-6


def test_two_fields_of_which_the_second_is_not_looked_at_are_one():
    single, double = small_fno(), pair()
    state = single.state_dict()
    first = state["lift.weight"]
    state["lift.weight"] = torch.cat([first[:, :1], torch.zeros_like(first[:, :1]), first[:, 1:]], dim=1)
    double.load_state_dict(state)
    values, t = torch.randn(3, 2, 17, 17, generator=generator(1, "values")), torch.tensor([0.1, 0.5, 0.9])
    with torch.no_grad():
        torch.testing.assert_close(double(values, t, Torus(17)), single(values[:, 0], t, Torus(17)), rtol=0, atol=1e-5)


def test_of_two_fields_too_the_network_makes_the_same_function_on_every_grid():
    """Up to its own aliasing, as of one; the coordinates are cut, and the output is not left at zero."""
    network = pair()
    with torch.no_grad():
        network.lift.weight[:, 2:4] = 0
        network.head[-1].weight.fill_(0.3)
    network, t, errors = network.double(), torch.full((2,), 0.5, dtype=torch.float64), []

    def out(n):
        return network(torch.stack([5 * smooth_field(n), smooth_field(n, seed=2)], dim=1), t, Torus(n))

    with torch.no_grad():
        for n in (13, 48):
            fine = out(4 * n)[:, ::4, ::4]
            errors.append((squared_norm(out(n) - fine).sum() / squared_norm(fine).sum()).sqrt().item())
    assert errors[0] < 1e-2
    assert errors[1] < errors[0] / 50


@pytest.mark.parametrize("seed", range(4))
def test_of_two_fields_the_network_depends_on_them_from_the_start(seed):
    """Its layers keep the size of fields: two draws of them are told apart by about as much at its last hidden layer."""
    network = FNO(32, 4, 12, 128, generator(seed), fields=2)
    stream = generator(9)
    u, v, weight = (torch.randn(*shape, generator=stream) for shape in ((4, 2, 32, 32), (4, 2, 32, 32), (1, 128)))
    t, last = torch.full((4,), 0.5), network.head[-1]
    with torch.no_grad():
        last.weight.copy_(weight / 128**0.5)
        apart = network(u, t, Torus(32)) - network(v, t, Torus(32))
    assert 0.2 < (apart.std() / (u - v).std()).item() < 2


def test_one_field_is_as_it_was_before_there_could_be_two():
    for make in (
        lambda **given: FNO(8, 3, 5, 16, generator(0), **given),
        lambda **given: UNet((8, 16), 1, 4, generator(0), **given),
    ):
        default, one, values = make(), make(fields=1), torch.randn(2, 16, 16, generator=generator(1))
        for name, value in default.state_dict().items():
            assert torch.equal(one.state_dict()[name], value)
        with torch.no_grad():
            apart, together = (
                one(u, torch.rand(2, generator=generator(2)), Torus(16)) for u in (values, values[:, None])
            )
        assert torch.equal(apart, together)
        assert apart.abs().max() > 0


def plain(network, values, t, grid):
    """The network as its formula says, by PyTorch's own operators, nothing computed again and nothing in parts."""
    fields = values[:, None] if values.ndim == 3 else values
    x = grid.points(values.device).to(values.dtype)
    channels = torch.broadcast_tensors(*fields.mT.unbind(1), x, x[:, None], t[:, None, None])
    hidden = network.lift(torch.stack(channels, dim=-1))
    for i, (spectral, pointwise) in enumerate(zip(network.spectral, network.pointwise, strict=True)):
        hidden = gelu(hidden) if i else hidden
        hidden = convolved(spectral, hidden.permute(0, 3, 2, 1)).permute(0, 3, 2, 1) + pointwise(hidden)
    first, last = network.head
    return last(gelu(first(hidden)))[..., 0].mT


def case(n, fields, batch=5):
    """A network in float64 with weights of size 1, and what it is given."""
    network = FNO(width=6, layers=3, modes=4, head=10, generator=generator(0), fields=fields).double()
    stream = generator(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, dtype=parameter.dtype, generator=stream) / 2)
    shape = (batch, n, n) if fields == 1 else (batch, fields, n, n)
    values = torch.randn(shape, dtype=torch.float64, generator=stream)
    return network, values, torch.rand(batch, dtype=torch.float64, generator=stream), Torus(n)


@pytest.mark.parametrize(("n", "fields"), [(16, 1), (9, 1), (7, 2), (12, 2)])
@pytest.mark.parametrize("points", [1, 100, 10**9])
def test_what_is_computed_again_and_in_parts_equals_the_formula(n, fields, points, monkeypatch):
    """Values, gradients of all parameters, of the fields and of the times, and the values without gradients."""
    monkeypatch.setattr(networks, "_at_once", lambda device: points)
    network, values, t, grid = case(n, fields)
    inputs = [values.requires_grad_(), t.requires_grad_(), *network.parameters()]
    expected, found = (function(values, t, grid) for function in (lambda *given: plain(network, *given), network))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    weights = torch.randn(found.shape, dtype=torch.float64, generator=generator(4))
    ours, theirs = (torch.autograd.grad(out, inputs, weights) for out in (found, expected))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12 * other.abs().max().item())
    with torch.no_grad():
        torch.testing.assert_close(network(values, t, grid), expected, rtol=1e-12, atol=1e-12)


def test_first_and_second_derivatives_are_those_of_finite_differences():
    network, values, t, grid = case(5, 1, batch=2)
    names = [name for name, parameter in network.named_parameters() if parameter.dtype == torch.float64]

    def apply(values, t, *parameters):
        return torch.func.functional_call(network, dict(zip(names, parameters, strict=True)), (values, t, grid))

    parameters = [network.get_parameter(name) for name in names]
    assert torch.autograd.gradcheck(apply, (values.requires_grad_(), t.requires_grad_(), *parameters))
    assert torch.autograd.gradgradcheck(lambda u, t: network(u, t, grid), (values, t))


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("points", [1, 10**9])
def test_forward_derivatives_are_those_of_the_formula(gradients, points, monkeypatch):
    """Also where no gradients are kept, as the likelihood takes them."""
    monkeypatch.setattr(networks, "_at_once", lambda device: points)
    network, values, t, grid = case(9, 1)
    direction = torch.randn(values.shape, dtype=torch.float64, generator=generator(5))
    with torch.set_grad_enabled(gradients):
        (out, change), expected = (
            torch.func.jvp(lambda u, f=function: f(u, t, grid), (values,), (direction,))
            for function in (network, lambda *given: plain(network, *given))
        )
    torch.testing.assert_close(out, expected[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(change, expected[1], rtol=1e-11, atol=1e-11)


def kept_bytes(width, layers, head, n=24, batch=4):
    """What a forward pass keeps for the backward pass beyond the parameters, a point."""
    network = FNO(width, layers, 2, head, generator(0))
    parameters, kept = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}, {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        out = network(torch.randn(batch, n, n, generator=generator(1)), torch.rand(batch), Torus(n))
    assert out.requires_grad
    return sum(size for key, size in kept.items() if key not in parameters) / (batch * n**2)


def test_a_training_step_keeps_one_field_of_each_channel_a_layer_and_nothing_of_the_head():
    """4 bytes for each of the C channels and a layer, and for the four channels of the input; modes are few."""
    of_layers = kept_bytes(16, 5, 64) - kept_bytes(16, 2, 64)
    assert of_layers == pytest.approx(3 * 4 * 16, rel=0.2)
    assert kept_bytes(16, 2, 64) == kept_bytes(16, 2, 1024)
    assert kept_bytes(16, 2, 64) == pytest.approx(4 * (4 + 2 * 16), rel=0.2)


def test_without_gradients_no_more_fields_are_held_together_however_many_are_given(monkeypatch):
    monkeypatch.setattr(networks, "_at_once", lambda device: 2 * 16**2)
    network, shapes = small_fno(), []
    convolve = SpectralConvolution.forward

    def noting(self, fields, *others):
        shapes.append(fields.shape[0])
        return convolve(self, fields, *others)

    monkeypatch.setattr(SpectralConvolution, "forward", noting)
    with torch.no_grad():
        for batch in (1, 2, 3, 9, 64):
            out = network(torch.randn(batch, 16, 16), torch.rand(batch), Torus(16))
            assert out.shape == (batch, 16, 16)
            assert sum(shapes) == batch * len(network.spectral)
            assert max(shapes) <= 3
            assert batch == 1 or min(shapes) >= 2  # a field alone rounds otherwise
            shapes.clear()


@pytest.mark.parametrize("n", [32, 33])
def test_evaluation_in_parts_and_training_round_alike(n, monkeypatch):
    network = paper_fno()
    u, t = torch.randn(5, n, n, generator=generator(4)), torch.rand(5, generator=generator(5))
    trained = network(u, t, Torus(n))
    monkeypatch.setattr(networks, "_at_once", lambda device: 2 * n**2)
    with torch.no_grad():
        torch.testing.assert_close(network(u, t, Torus(n)), trained, rtol=1e-6, atol=1e-7)


def test_the_names_and_shapes_of_the_weights_are_those_of_model_files():
    layer = ["spectral.{}.weight", "pointwise.{}.weight", "pointwise.{}.bias"]
    expected = {name.format(i) for i in range(3) for name in layer}
    expected |= {f"{part}.weight" for part in ("lift", "head.0", "head.1")}
    expected |= {f"{part}.bias" for part in ("lift", "head.0", "head.1")}
    assert {name.removesuffix(".tensor") for name in small_fno().state_dict()} == expected
