"""The cases with PyTorch and JAX, for `cargo xtask bench --peers --python PATH`.

Reads one command a line and answers each with one line: `libraries`, `prepare LIBRARY CASE`, `digest LIBRARY`, `time LIBRARY COUNT`,
`drop LIBRARY`.
Inputs are those of data.rs, the cases those of ours.rs.
"""

import math
import os
import sys
import time

THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))

import numpy as np


def bits(seed, count):
    with np.errstate(over="ignore"):
        z = (np.arange(count, dtype=np.uint64) + (np.uint64(seed) << np.uint64(40))) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def unit(seed, shape):
    count = math.prod(shape)
    return ((bits(seed, count) >> np.uint64(40)).astype(np.float32) / np.float32(2**24)).reshape(shape)


def uniform(seed, shape, scale):
    return (2 * unit(seed, shape) - 1) * np.float32(scale)


def integers(seed, count, below):
    return ((bits(seed, count) >> np.uint64(33)) % np.uint64(below)).astype(np.int64)


def sample(values):
    values = np.asarray(values, dtype=np.float64).reshape(-1)
    count = min(len(values), 64)
    return [float(values[i * (len(values) - 1) // max(count - 1, 1)]) for i in range(count)]


def f(x):
    return x**3 + 3 * x**2 - 5 * x + 4


SIZES = {"1k": 1 << 10, "64k": 1 << 16, "4m": 1 << 22, "16m": 1 << 24}
MATRICES = {"sum_all", "sum_rows", "sum_columns", "argmax_rows", "softmax", "logsumexp"}


def operands(case):
    """The factors of a product, as numpy arrays."""
    kind = case.removeprefix("matmul_")
    pair = lambda a, b: (uniform(1, a, 1), uniform(2, b, 1))
    if kind == "f64":
        return tuple(x.astype(np.float64) for x in pair((1024, 1024), (1024, 1024)))
    if kind == "abt":
        return pair((1024, 1024), (1024, 1024))
    if kind == "skinny":
        return pair((64, 4096), (4096, 4096))
    if kind == "batched":
        return pair((32, 128, 128), (32, 128, 128))
    if kind == "i64":
        return tuple(integers(seed, 256 * 256, 1000).reshape(256, 256) for seed in (1, 2))
    return pair((int(kind), int(kind)), (int(kind), int(kind)))


class Torch:
    """Each case is a function that runs it once and gives its result."""

    def __init__(self):
        import torch

        self.torch = torch
        torch.set_num_threads(THREADS)
        self.version = f"torch {torch.__version__.split('+')[0]}"

    def tensor(self, seed, shape, scale):
        return self.torch.from_numpy(uniform(seed, shape, scale))

    def parameter(self, seed, shape, scale):
        return self.tensor(seed, shape, scale).requires_grad_()

    def indices(self, seed, count, below):
        return self.torch.from_numpy(integers(seed, count, below))

    def read(self, y):
        return y.detach().to(self.torch.float64).contiguous().numpy()

    def run(self, function, count):
        start = time.perf_counter()
        for _ in range(count):
            function()
        return (time.perf_counter() - start) / count

    def gradient(self, x, loss):
        def step():
            x.grad = None
            loss().backward()
            return x.grad

        return step

    def prepare(self, case):
        torch, F = self.torch, self.torch.nn.functional
        x = torch.tensor(-2.0)
        if case == "scalar_f":
            return lambda: f(x)
        if case == "scalar_grad":
            leaf = x.requires_grad_()
            return self.gradient(leaf, lambda: f(leaf))
        if case == "scalar_add":
            y = torch.tensor(3.0)
            return lambda: x + y
        if case == "chain":
            leaf = x.requires_grad_()

            def chain():
                y = leaf * 1.0
                for _ in range(1, 100_000):
                    y = y + 1e-6
                return y

            return self.gradient(leaf, chain)
        size = SIZES.get(case.rsplit("_", 1)[-1])
        if size:
            x = self.tensor(1, (size,), 4)
            if case.startswith("add"):
                y = self.tensor(2, (size,), 4)
                return lambda: x + y
            if case == "grad_16m":
                x.requires_grad_()
                return self.gradient(x, lambda: f(x).sum())
            function = {"f": f, "gelu": F.gelu, "sigmoid": torch.sigmoid, "exp": torch.exp, "tanh": torch.tanh}[
                case.split("_")[0]
            ]
            return lambda: function(x)
        if case in MATRICES:
            x = torch.from_numpy(unit(1, (4096, 4096)))
            return {
                "sum_all": lambda: x.sum(),
                "sum_rows": lambda: x.sum(1),
                "sum_columns": lambda: x.sum(0),
                "argmax_rows": lambda: x.argmax(1),
                "softmax": lambda: x.softmax(-1),
                "logsumexp": lambda: x.logsumexp(-1),
            }[case]
        if case == "layer_norm":
            x, weight, bias = self.tensor(1, (8192, 1024), 4), self.tensor(2, (1024,), 1), self.tensor(3, (1024,), 1)
            return lambda: F.layer_norm(x, (1024,), weight, bias)
        if case.startswith("broadcast"):
            x = self.tensor(1, (4096, 4096), 4)
            other = self.tensor(2, (4096,) if case == "broadcast_row" else (4096, 1), 4)
            return lambda: x + other
        if case == "transpose":
            x = self.tensor(1, (4096, 4096), 4)
            return lambda: x.t().contiguous()
        if case == "index_select":
            table, places = self.tensor(1, (100_000, 64), 4), self.indices(2, 100_000, 100_000)
            return lambda: table.index_select(0, places)
        if case == "cat":
            parts = [self.tensor(1 + i, (1024, 1024), 4) for i in range(16)]
            return lambda: torch.cat(parts)
        if case.startswith("matmul"):
            a, b = (torch.from_numpy(x) for x in operands(case))
            if case == "matmul_abt":
                b = b.t()
            return lambda: a @ b
        return self.learning(case)

    def layers(self, sizes, scale):
        weights = [self.parameter(3 + i, (m, n), scale) for i, (n, m) in enumerate(sizes)]
        biases = [self.parameter(6 + i, (m,), scale) for i, (_, m) in enumerate(sizes)]
        return weights, biases, self.torch.optim.SGD(weights + biases, lr=0.1)

    def training(self, optimizer, loss_of):
        def step():
            optimizer.zero_grad()
            loss = loss_of()
            loss.backward()
            optimizer.step()
            loss.item()
            return loss

        return step

    def learning(self, case):
        torch, F = self.torch, self.torch.nn.functional
        if case == "mlp":
            x, target = self.tensor(1, (128, 784), 1), self.indices(2, 128, 10)
            weights, biases, optimizer = self.layers([(784, 512), (512, 512), (512, 10)], 0.05)

            def loss():
                y = F.relu(F.linear(x, weights[0], biases[0]))
                y = F.relu(F.linear(y, weights[1], biases[1]))
                return F.cross_entropy(F.linear(y, weights[2], biases[2]), target)

            return self.training(optimizer, loss)
        if case == "small_mlp":
            x, target = self.tensor(1, (32, 2), 1), self.tensor(2, (32, 1), 1)
            weights, biases, optimizer = self.layers([(2, 16), (16, 16), (16, 1)], 0.5)

            def loss():
                y = torch.tanh(F.linear(x, weights[0], biases[0]))
                y = torch.tanh(F.linear(y, weights[1], biases[1]))
                return F.mse_loss(F.linear(y, weights[2], biases[2]), target)

            return self.training(optimizer, loss)
        if case == "cnn":
            x, target = self.tensor(1, (32, 1, 28, 28), 1), self.indices(2, 32, 10)
            filters = [self.parameter(3, (16, 1, 3, 3), 0.3), self.parameter(4, (32, 16, 3, 3), 0.1)]
            weight = self.parameter(5, (10, 1568), 0.05)

            def loss():
                y = x
                for filter in filters:
                    y = F.max_pool2d(F.relu(F.conv2d(y, filter, padding=1)), 2)
                return F.cross_entropy(F.linear(y.flatten(1), weight), target)

            return self.training(torch.optim.SGD([*filters, weight], lr=0.1), loss)
        if case == "attention":
            x = self.parameter(1, (4, 256, 256), 1)
            into, out = self.parameter(2, (768, 256), 0.1), self.parameter(3, (256, 256), 0.1)

            def loss():
                into.grad = out.grad = None
                q, k, v = F.linear(x, into).reshape(4, 256, 3, 8, 32).permute(2, 0, 3, 1, 4)
                y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
                return F.linear(y.transpose(1, 2).reshape(4, 256, 256), out).square().sum()

            return self.gradient(x, loss)
        if case == "adamw":
            parameter = self.parameter(1, (10_000_000,), 1)
            parameter.grad = self.tensor(2, (10_000_000,), 1)
            optimizer = torch.optim.AdamW([parameter], lr=1e-3, weight_decay=0.01, fused=True)

            def step():
                optimizer.step()
                return parameter

            return step
        if case == "embedding":
            table, places = self.parameter(1, (32_768, 256), 1), self.indices(2, 8192, 32_768)
            return self.gradient(table, lambda: F.embedding(places, table).square().sum())
        return None


class Jax:
    """Each case is a compiled function with its arguments."""

    def __init__(self):
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
        import jax

        jax.config.update("jax_enable_x64", True)
        self.jax = jax
        self.version = f"jax {jax.__version__}"

    def read(self, y):
        return np.asarray(y, dtype=np.float64)

    def run(self, function, count):
        start = time.perf_counter()
        for _ in range(count):
            function().block_until_ready()
        return (time.perf_counter() - start) / count

    def compiled(self, function, *arguments):
        arguments = [self.jax.numpy.asarray(a) for a in arguments]
        function = self.jax.jit(function)
        return lambda: function(*arguments)

    def prepare(self, case):
        jax, jnp, nn = self.jax, self.jax.numpy, self.jax.nn
        x = np.float32(-2)
        if case == "scalar_f":
            return self.compiled(f, x)
        if case == "scalar_grad":
            return self.compiled(jax.grad(f), x)
        if case == "scalar_add":
            return self.compiled(jnp.add, x, np.float32(3))
        size = SIZES.get(case.rsplit("_", 1)[-1])
        if size:
            x = uniform(1, (size,), 4)
            if case.startswith("add"):
                return self.compiled(jnp.add, x, uniform(2, (size,), 4))
            if case == "grad_16m":
                return self.compiled(jax.grad(lambda x: f(x).sum()), x)
            gelu = lambda x: nn.gelu(x, approximate=False)
            functions = {"f": f, "gelu": gelu, "sigmoid": nn.sigmoid, "exp": jnp.exp, "tanh": jnp.tanh}
            return self.compiled(functions[case.split("_")[0]], x)
        if case in MATRICES:
            functions = {
                "sum_all": lambda x: x.sum(),
                "sum_rows": lambda x: x.sum(1),
                "sum_columns": lambda x: x.sum(0),
                "argmax_rows": lambda x: x.argmax(1),
                "softmax": lambda x: nn.softmax(x, -1),
                "logsumexp": lambda x: nn.logsumexp(x, -1),
            }
            return self.compiled(functions[case], unit(1, (4096, 4096)))
        if case == "layer_norm":

            def layer_norm(x, weight, bias):
                centred = x - x.mean(-1, keepdims=True)
                return centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * weight + bias

            return self.compiled(layer_norm, uniform(1, (8192, 1024), 4), uniform(2, (1024,), 1), uniform(3, (1024,), 1))
        if case.startswith("broadcast"):
            other = uniform(2, (4096,) if case == "broadcast_row" else (4096, 1), 4)
            return self.compiled(jnp.add, uniform(1, (4096, 4096), 4), other)
        if case == "transpose":
            return self.compiled(lambda x: x.T, uniform(1, (4096, 4096), 4))
        if case == "index_select":
            return self.compiled(lambda t, i: t[i], uniform(1, (100_000, 64), 4), integers(2, 100_000, 100_000))
        if case == "cat":
            return self.compiled(lambda *p: jnp.concatenate(p), *(uniform(1 + i, (1024, 1024), 4) for i in range(16)))
        if case.startswith("matmul"):
            product = (lambda a, b: a @ b.T) if case == "matmul_abt" else jnp.matmul
            return self.compiled(product, *operands(case))
        return self.learning(case)

    def training(self, loss, parameters):
        """A step that gives the loss before it; parameters are replaced where they lie."""
        jax = self.jax

        def descend(parameters):
            value, gradients = jax.value_and_grad(loss)(parameters)
            return value, jax.tree.map(lambda p, g: p - 0.1 * g, parameters, gradients)

        descend = jax.jit(descend, donate_argnums=0)
        state = [jax.tree.map(jax.numpy.asarray, parameters)]

        def step():
            value, state[0] = descend(state[0])
            return value

        return step

    def learning(self, case):
        jax, jnp, nn = self.jax, self.jax.numpy, self.jax.nn
        layers = lambda sizes, scale: [
            (uniform(3 + i, (m, n), scale), uniform(6 + i, (m,), scale)) for i, (n, m) in enumerate(sizes)
        ]

        def perceptron(x, layers, activation):
            for weight, bias in layers[:-1]:
                x = activation(x @ weight.T + bias)
            weight, bias = layers[-1]
            return x @ weight.T + bias

        def cross_entropy(y, target):
            return -jnp.take_along_axis(nn.log_softmax(y), target[:, None], 1).mean()

        if case == "mlp":
            x, target = uniform(1, (128, 784), 1), integers(2, 128, 10)
            sizes = [(784, 512), (512, 512), (512, 10)]
            return self.training(lambda p: cross_entropy(perceptron(x, p, nn.relu), target), layers(sizes, 0.05))
        if case == "small_mlp":
            x, target = uniform(1, (32, 2), 1), uniform(2, (32, 1), 1)
            sizes = [(2, 16), (16, 16), (16, 1)]
            return self.training(lambda p: ((perceptron(x, p, jnp.tanh) - target) ** 2).mean(), layers(sizes, 0.5))
        if case == "cnn":
            x, target = uniform(1, (32, 1, 28, 28), 1), integers(2, 32, 10)

            def loss(parameters):
                y = x
                for filter in parameters[:2]:
                    y = nn.relu(jax.lax.conv_general_dilated(y, filter, (1, 1), "SAME"))
                    y = jax.lax.reduce_window(y, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
                return cross_entropy(y.reshape(32, -1) @ parameters[2].T, target)

            shapes = [((16, 1, 3, 3), 0.3), ((32, 16, 3, 3), 0.1), ((10, 1568), 0.05)]
            return self.training(loss, [uniform(3 + i, *shape) for i, shape in enumerate(shapes)])
        if case == "attention":

            def loss(x, into, out):
                q, k, v = (x @ into.T).reshape(4, 256, 3, 8, 32).transpose(2, 0, 1, 3, 4)
                y = nn.dot_product_attention(q, k, v, is_causal=True)
                return ((y.reshape(4, 256, 256) @ out.T) ** 2).sum()

            arguments = uniform(1, (4, 256, 256), 1), uniform(2, (768, 256), 0.1), uniform(3, (256, 256), 0.1)
            gradients = self.compiled(jax.grad(loss, (0, 1, 2)), *arguments)
            return lambda: gradients()[0]
        if case == "adamw":

            def update(p, m, v, t, g):
                t, m, v = t + 1, 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
                scale = jnp.float32(1) / jnp.sqrt(1 - jnp.float32(0.999) ** t)
                p = p * (1 - 1e-5) - 1e-3 * (m / (1 - jnp.float32(0.9) ** t)) / (jnp.sqrt(v) * scale + 1e-8)
                return p, m, v, t

            update = jax.jit(update, donate_argnums=(0, 1, 2))
            gradient, zeros = jnp.asarray(uniform(2, (10_000_000,), 1)), np.zeros(10_000_000, np.float32)
            state = [(jnp.asarray(uniform(1, (10_000_000,), 1)), jnp.asarray(zeros), jnp.array(zeros), jnp.float32(0))]

            def step():
                state[0] = update(*state[0], gradient)
                return state[0][0]

            return step
        if case == "embedding":
            loss = lambda table, places: (table[places] ** 2).sum()
            return self.compiled(jax.grad(loss), uniform(1, (32_768, 256), 1), integers(2, 8192, 32_768))
        return None


def kibibytes(field):
    """A number of this process's status."""
    with open("/proc/self/status") as file:
        return next(float(line.split()[1]) for line in file if line.startswith(field + ":"))


def main():
    libraries = {}
    for name, make in [("torch", Torch), ("jax", Jax)]:
        try:
            libraries[name] = make()
        except ImportError:
            pass
    functions = {}
    # What a library prints must not come between the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        command, *words = line.split()
        name = words[0] if words else None
        if command == "libraries":
            answer = ";".join(f"{name}={library.version}" for name, library in libraries.items())
        elif command == "prepare":
            functions[name] = libraries[name].prepare(words[1])
            answer = "ok" if functions[name] else "none"
        elif command == "digest":
            functions[name]()
            answer = " ".join(map(repr, sample(libraries[name].read(functions[name]()))))
        elif command == "time":
            answer = repr(libraries[name].run(functions[name], int(words[1])))
        elif command == "peak":
            # This sets the peak back to what is resident now.
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")
            before = kibibytes("VmRSS")
            libraries[name].run(functions[name], int(words[1]))
            answer = repr((kibibytes("VmHWM") - before) / 1024)
        else:
            functions[name] = None
            answer = "ok"
        print(answer, file=answers, flush=True)


main()
