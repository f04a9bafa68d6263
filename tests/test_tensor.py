"""The tape: what is remembered, in which order it is walked, where gradients end up, and what is refused."""
import gc
import os
import threading
import tracemalloc
import weakref

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import tensor
from tinyconv.functional import concat, cross_entropy, distillation_loss, linear, split

pytestmark = pytest.mark.small
T = tc.Tensor


def _leaf(*values):
    return T(np.array(values, np.float64), requires_grad=True)


# ---- what a gradient is, and where it goes --------------------------------------------------------------------------------

def test_gradients_of_leaves_add_up_until_they_are_forgotten():
    """Two backward passes give twice the gradient, as in PyTorch; zero_grad begins anew."""
    x = _leaf(1, 2, 3)
    (x * x).sum().backward()
    (x * x).sum().backward()
    assert x.grad.tolist() == [4, 8, 12]
    x.zero_grad()
    assert x.grad is None


def test_a_tensor_used_several_times_gets_the_sum():
    """y = x x + x + 3 x: dy/dx = 2 x + 4, over four uses of one leaf, two of them in one operation."""
    x = _leaf(1, -2)
    (x * x + x + x * 3).sum().backward()
    assert x.grad.tolist() == [6, 0]


def test_diamonds_are_walked_once_each():
    """Sixty diamonds in a row: y <- y + y doubles the gradient each time, exactly 2^60; walking every path apart would never
    end."""
    x = _leaf(1)
    y = x
    for _ in range(60):
        y = y + y
    y.backward()
    assert x.grad.tolist() == [2.0 ** 60]


def test_a_node_waits_for_all_its_consumers():
    """A long way and a short way from one result: its vjp runs once, with the sum of both."""
    x = _leaf(0.5)
    y = x * 2
    (y * (y.exp().log() * 1.0)).backward()                                  # y²: dL/dx = 2 y · 2 = 4
    assert x.grad == pytest.approx([4.0], rel=1e-14)


def test_only_some_outputs_are_used():
    """A piece of a split that nobody reads counts as zeros."""
    x = T(np.arange(12.0).reshape(1, 6, 1, 2), requires_grad=True)
    _, b, _ = split(x, [1, 2, 3])
    (b * 5).sum().backward()
    assert x.grad[0, :, 0, 0].tolist() == [0, 5, 5, 0, 0, 0]


def test_results_are_no_leaves_unless_asked():
    """Gradients stay at leaves; retain_grad keeps that of a result too, without changing any other."""
    x = _leaf(1, 2)
    y = x * 3
    z = (y * y).sum()
    z.backward()
    assert y.grad is None and z.grad is None and x.grad.tolist() == [18, 36]
    x.zero_grad()
    y = (x * 3).retain_grad()
    z = (y * y).sum().retain_grad()
    z.backward()
    assert y.grad.tolist() == [6, 12] and z.grad.tolist() == 1 and x.grad.tolist() == [18, 36]
    with pytest.raises(RuntimeError, match="retain_grad needs"):
        T([1.0]).retain_grad()


def test_backward_of_a_leaf_is_its_cotangent():
    x = _leaf(1, 2)
    x.backward(np.array([3.0, 4.0]))
    x.backward([1, 1])
    assert x.grad.tolist() == [4, 5]


def test_gradients_own_their_memory():
    """No gradient shares memory with a parameter, with another gradient, with the cotangent or with a retained one.

    Why: x + y hands one array to both sides; an optimiser that then changes one gradient in place would change the other.
    """
    x, y, cotangent = _leaf(1, 2), _leaf(3, 4), np.array([1.0, 1.0])
    s = (x + y).retain_grad()
    s.backward(cotangent)
    z = T(np.ones((2, 2)), requires_grad=True)
    concat([z, z * 1], 1).reshape(8).backward(np.arange(8.0))
    arrays = [x.grad, y.grad, s.grad, z.grad, x.data, y.data, s.data, z.data, cotangent]
    for i, a in enumerate(arrays):
        assert not any(np.shares_memory(a, b) for b in arrays[i + 1:]), i
    assert all(g.flags.writeable for g in arrays[:4])
    x.grad += 1
    assert y.grad.tolist() == [1, 1] and cotangent.tolist() == [1, 1]


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_grad_is_an_array_for_one_number_too(shape):
    """Sums of 0-d arrays are NumPy numbers: `.grad` is an array even so, after one pass and after two."""
    x = T(np.full(shape, 3.0), requires_grad=True)
    for _ in range(2):
        (x * x).backward()
        assert isinstance(x.grad, np.ndarray) and x.grad.shape == shape
    assert float(x.grad.reshape(())) == 12


# ---- freeing, and not recording -------------------------------------------------------------------------------------------

def test_a_second_backward_is_a_clear_error():
    """The tape is freed on the way; the message says what to do. retain_graph keeps it."""
    x = _leaf(1, 2)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [4, 8]
    with pytest.raises(RuntimeError, match=r"'sum' a second time.*freed.*retain_graph=True"):
        y.backward()
    assert x.grad.tolist() == [4, 8]


def test_a_freed_piece_under_a_new_result_is_found():
    """The shared part of two losses is freed by the first; the second says so instead of giving half a gradient in silence."""
    x = _leaf(1, 2)
    shared = x.exp()
    shared.sum().backward()
    with pytest.raises(RuntimeError, match="'exp' a second time"):
        (shared * 2).sum().backward()


def test_backward_lets_go_of_what_it_has_used():
    """After backward the loss, still at hand, holds no activation: their memory returns at once."""
    x = T(np.ones(1000), requires_grad=True)
    y = (x * 2).exp()
    held = [y._node.parents[0]]                                             # the Tensor x * 2
    loss = y.sum()
    del y
    assert len(gc.get_referrers(held[0])) > 1
    loss.backward()
    assert gc.get_referrers(held[0]) == [held] and loss._node.freed


def test_no_grad_records_nothing_and_ends_with_its_block():
    """As a block, nested, as a decorator, and after an exception; a result made inside is a constant outside."""
    x = _leaf(1)

    @tc.no_grad()
    def inside(y):
        return y * 2

    with tc.no_grad():
        with tc.no_grad():
            assert not tensor.grad_enabled()
        assert not tensor.grad_enabled() and not (x * 2).requires_grad
    assert inside(x)._node is None and inside(x)._node is None and tensor.grad_enabled()
    with pytest.raises(KeyError), tc.no_grad():
        raise KeyError
    assert (x * 2).requires_grad
    with tc.no_grad():
        constant = x * 5
    (x * constant).backward()
    assert x.grad.tolist() == [5]


def test_no_grad_is_of_one_thread():
    """Another thread goes on recording."""
    seen = []
    with tc.no_grad():
        thread = threading.Thread(target=lambda: seen.append(tensor.grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_detach_leaves_the_tape_and_shares_the_array():
    x = _leaf(1, 2)
    y = (x * 2).detach()
    assert not y.requires_grad and y._node is None
    assert x.detach().data is x.data
    (x * y).sum().backward()
    assert x.grad.tolist() == [2, 4]


def test_an_input_without_gradient_in_the_vjp_ends_the_walk_there(rng):
    """The teacher of distillation has no gradient, even where its logits are on the tape: backward passes it by."""
    w = T(rng.standard_normal((3, 4)), requires_grad=True)
    teacher, student = linear(rng.standard_normal((5, 4)), w), T(rng.standard_normal((5, 3)), requires_grad=True)
    distillation_loss(student, teacher, np.array([0, 1, 2, 0, 1])).backward()
    assert w.grad is None and np.abs(student.grad).max() > 0
    teacher.sum().backward()                                                # and its own tape is untouched
    assert w.grad is not None


# ---- types and errors -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("data, dtype", [
    (1, np.float32), (2.5, np.float32), ([1, 2], np.float32), ([[1.5]], np.float32), (np.float64(1), np.float64),
    (np.int64(1), np.int64),
    (np.arange(3), np.int64), (np.ones(2, np.float64), np.float64), (np.ones(2, np.float32), np.float32),
    (np.ones(2, bool), np.bool_)])
def test_lists_become_float32_and_arrays_keep_their_type(data, dtype):
    assert T(data).dtype == dtype


def test_integers_have_values_and_no_gradient():
    labels = T(np.arange(3))
    assert (labels + 1).data.tolist() == [1, 2, 3] and not labels.requires_grad
    for kind in (np.int64, np.uint8, bool, np.float16):
        with pytest.raises(TypeError, match="only float32 and float64 tensors have gradients, not"):
            T(np.zeros(2, kind), requires_grad=True)


@pytest.mark.parametrize("data, message", [(np.ones(2, complex), "numbers, not complex128"), (["a"], "numbers, not <U1"),
                                           (np.array([None]), "numbers, not object"), (T([1.0]), "not a Tensor; use detach")])
def test_what_holds_no_numbers_is_refused(data, message):
    with pytest.raises(TypeError, match=message):
        T(data)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_numbers_take_the_type_of_the_tensor(kind):
    """Python's and NumPy's numbers alike: np.float64(2) must not turn a float32 network into float64."""
    x = T(np.array([1, 2], kind), requires_grad=True)
    for number in (2, 2.0, True, np.float64(2), np.float32(2), np.int64(2), np.sqrt(4.0)):
        for y in (x + number, number - x, x * number, number / x, x ** number):
            assert y.dtype == kind and y.requires_grad, number


@pytest.mark.parametrize("other", [np.ones(2, np.float64), T(np.ones(2, np.float64)), np.array(2.0), np.arange(2),
                                   np.ones(2, np.float16)])
def test_types_are_not_mixed(other):
    """float32 with float64 (or int64, which NumPy would make float64) is refused: nothing is converted unseen."""
    x = T(np.ones(2, np.float32))
    for f in (lambda: x + other, lambda: other * x):
        with pytest.raises(TypeError, match="convert one side first"):
            f()


def test_small_integers_and_masks_fit_float32():
    """bool, int8 and int16 fit into float32 exactly, and NumPy keeps float32."""
    x = T(np.ones(2, np.float32), requires_grad=True)
    for mask in (np.array([True, False]), np.array([1, 0], np.int8), np.array([1, 0], np.int16)):
        y = x * mask
        assert y.dtype == np.float32 and y.data.tolist() == [1, 0]
    y.sum().backward()
    assert x.grad.tolist() == [1, 0] and x.grad.dtype == np.float32


def test_an_array_on_the_left_stays_on_the_tape():
    """array * tensor asks the tensor; NumPy alone would make an array of objects and lose the gradient."""
    a, x = np.array([[2.0, 3.0]]), _leaf(5, 7)
    for y, gradient in ((a * x, [2, 3]), (a + x, [1, 1]), (a - x, [-1, -1]), (a / x, (-a[0] / x.data ** 2).tolist())):
        assert isinstance(y, T) and y.shape == (1, 2)
        x.zero_grad()
        y.sum().backward()
        assert x.grad.tolist() == gradient
    w = T(np.ones((2, 3)), requires_grad=True)
    (a @ w).sum().backward()
    assert w.grad.tolist() == [[2] * 3, [3] * 3]


@pytest.mark.parametrize("f, error, message", [
    (lambda x: x.backward(), RuntimeError, r"backward of shape \(2,\) needs grad, an array of that shape"),
    (lambda x: (x * 2).backward(), RuntimeError, r"needs grad"),
    (lambda x: T([1.0]).backward(), RuntimeError, "requires_grad=True, outside no_grad"),
    (lambda x: x.backward(np.ones(3)), ValueError, r"grad must be float64 of shape \(2,\), not float64 of shape \(3,\)"),
    (lambda x: x.backward(np.ones((1, 2))), ValueError, r"shape \(1, 2\)"),
    (lambda x: x.backward(np.ones(2, np.float32)), ValueError, "grad must be float64 .* not float32"),
    (lambda x: x.backward(T(np.ones(2, np.float32))), ValueError, "grad must be float64 .* not float32"),
    (lambda x: x.numpy(), RuntimeError, r"detach\(\).numpy\(\)"),
    (lambda x: (x * 2).requires_grad_(False), RuntimeError, "detach"),
    (lambda x: x + [1.0, 2.0], TypeError, "add: argument 1 must be a Tensor, an array or a number, not list"),
    (lambda x: x * "2", TypeError, "not str"),
    (lambda x: x ** x, TypeError, "exponent must be a number, not Tensor"),
    (lambda x: x[np.array([0, 1])], TypeError, "integers, slices and Ellipsis, not ndarray"),
    (lambda x: x[[True, False]], TypeError, "not list"),
    (lambda x: x[None], TypeError, "not NoneType"),
    (lambda x: x[2], IndexError, "out of bounds"),
    (lambda x: x.sum(axis=1), ValueError, "axis must name different axes of 1"),
    (lambda x: x.sum(axis=0.5), TypeError, "integer"),
    (lambda x: x.reshape(3), ValueError, r"2 numbers of shape \(2,\) do not fit shape \(3,\)"),
    (lambda x: x.reshape(-1, -1), ValueError, "one -1"),
    (lambda x: x.transpose(1), ValueError, "axes must be an order of 1 axes"),
    (lambda x: x.flatten(3), ValueError, "start_dim must be an axis"),
    (lambda x: iter(x.sum()), TypeError, "unsized"),
    (lambda x: x.item(), ValueError, "size 1"),
    (lambda x: bool(x), ValueError, "ambiguous"),
])
def test_wrong_use_says_what_is_wrong(f, error, message):
    with pytest.raises(error, match=message):
        f(_leaf(1, 2))


def test_a_wrong_vjp_is_named():
    """A gradient of another shape or type than its tensor's is refused with the operation's name, at results and leaves alike."""
    from tinyconv.ops import TABLE, apply, register
    from tinyconv.ops.table import free, same_shape
    register("wrong shape", lambda x: (x * 2, None), lambda saved, dy: (dy.sum(axis=0),), same_shape, free)
    register("wrong type", lambda x: (x * 2, None), lambda saved, dy: (dy.astype(np.float32),), same_shape, free)
    try:
        for begin in (lambda x: x, lambda x: x * 1):
            x = T(np.ones((2, 3)), requires_grad=True)
            with pytest.raises(RuntimeError, match=r"vjp of 'wrong shape' is wrong: .* shape \(3,\) to a tensor float64 of shape \(2, 3\)"):
                apply("wrong shape", begin(x)).sum().backward()
            with pytest.raises(RuntimeError, match="vjp of 'wrong type' is wrong: it sends a gradient float32"):
                apply("wrong type", begin(x)).sum().backward()
            assert x.grad is None
    finally:
        del TABLE["wrong shape"], TABLE["wrong type"]


# ---- behaving like an array -----------------------------------------------------------------------------------------------

def test_tensors_read_like_arrays():
    x = T(np.arange(6.0).reshape(2, 3))
    assert (x.shape, x.ndim, x.size, len(x), x.T.shape) == ((2, 3), 2, 6, 2, (3, 2))
    assert [row.data.tolist() for row in x] == [[0, 1, 2], [3, 4, 5]]
    assert x[1, 2].item() == 5.0 and float(x[0, 1]) == 1.0 and bool(x[0, 0]) is False
    assert x.numpy() is x.data and x.reshape(3, 2).shape == x.reshape((3, -1)).shape == (3, 2)
    assert x.transpose(1, 0).shape == x.transpose((1, 0)).shape == (3, 2) and x.flatten().shape == (6,)
    assert repr(T([1.0, 2.0], requires_grad=True)) == "Tensor([1. 2.], requires_grad=True)" and repr(T([1.0])) == "Tensor([1.])"


def test_results_do_not_change_their_inputs(rng):
    """Operations write into arrays of their own: with read-only inputs everything still runs, backward too."""
    x, w = rng.standard_normal((2, 3)), rng.standard_normal((4, 3))
    for a in (x, w):
        a.flags.writeable = False
    a, b = T(x, requires_grad=True), T(w, requires_grad=True)
    y = linear(a, b)
    cross_entropy(y - y.mean(1, keepdims=True), np.array([0, 3])).backward()
    assert a.grad.shape == (2, 3) and b.grad.shape == (4, 3)


# ---- size ------------------------------------------------------------------------------------------------------------------

def test_a_chain_of_five_thousand_operations_needs_no_recursion():
    """Five times Python's recursion limit, forward, backward, and when the chain is let go: d(x + 5000)/dx = 1 exactly."""
    x = _leaf(1)
    y = x
    for _ in range(5000):
        y = y + 1
    y.backward(retain_graph=True)
    assert x.grad.tolist() == [1] and y.data.tolist() == [5001]
    end = weakref.ref(y)
    del y
    assert end() is None


def test_the_tape_makes_no_cycles():
    """What a training step leaves is freed by counting references alone, at once: the collector finds nothing."""
    gc.collect()
    gc.disable()
    try:
        x = T(np.ones((2, 3)), requires_grad=True)
        a, b = split(x * 2, [1, 2])
        (concat([a, b.exp()]).sum() * 2).backward()
        del a, b
        (x * x)                                                             # a tape that nobody walked
        assert gc.collect() == 0
    finally:
        gc.enable()


def _count_objects():
    gc.collect()
    return sum(issubclass(type(o), (T, tensor.Node)) for o in gc.get_objects())          # type(): a weak proxy has no class to ask


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"),
                    reason="200 steps of interpreted kernels take minutes")
def test_training_does_not_grow():
    """200 steps of a small convolutional network: the traced memory and the number of tensors and nodes end as they began.

    The first steps fill what lives as long as training does (momentum, gradients, scratch, caches): counting begins after them.
    64 KB are allowed for what Python itself keeps here and there; one activation a step would be 200 times 2 KB.
    """
    rng = np.random.default_rng(0)
    nn = tc.nn
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, bias=False, rng=0), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
                          nn.Dropout(0.1, rng=0),
                          nn.Conv2d(4, 4, 3, groups=4, rng=0), nn.Hardswish(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                          nn.Linear(4, 3, rng=0))
    optimizer = tc.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    x, y = rng.standard_normal((4, 1, 8, 8)).astype(np.float32), rng.integers(0, 3, 4)

    def train(count):
        for _ in range(count):
            optimizer.zero_grad()
            loss = cross_entropy(model(T(x)), y)
            loss.backward()
            optimizer.step()
        return float(loss.data)

    train(10)
    tracemalloc.start()
    try:
        train(10)
        objects, (memory, _) = _count_objects(), tracemalloc.get_traced_memory()
        last = train(200)
        assert _count_objects() == objects
        assert tracemalloc.get_traced_memory()[0] - memory < 64 * 1024
    finally:
        tracemalloc.stop()
    assert np.isfinite(last)
