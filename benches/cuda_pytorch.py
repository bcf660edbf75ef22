"""The cases of the benchmark `cuda` with PyTorch, to lay beside its table: the same names, sizes and rounds.

    python3 benches/cuda_pytorch.py [--quick] [--cpu] [CASE ...]

Without PyTorch or a device it says so and ends. --cpu is for trying this script where there is no GPU.
"""

import statistics
import sys
import time

ROUNDS = 15
TURN = 20e-3
QUEUED = 500


def sizes(quick):
    if quick:
        small = dict(copy=1 << 16, elements=1 << 12, lines=(16, 64), sides=(16, 32))
        return dict(small, batch=4, layers=(12, 8, 8, 4), launches=20)
    large = dict(copy=1 << 30, elements=1 << 26, lines=(8192, 4096), sides=(4096, 8192))
    return dict(large, batch=128, layers=(784, 512, 512, 10), launches=10_000)


class Bench:
    def __init__(self, torch, device, quick, chosen):
        self.torch, self.device, self.quick, self.chosen = torch, device, quick, chosen
        self.cases = []

    def wait(self):
        if self.device == "cuda":
            self.torch.cuda.synchronize()

    def numbers(self, *shape, dtype=None):
        return (self.torch.rand(shape, device=self.device) * 2 - 1).to(dtype or self.torch.float32)

    def add(self, name, work, make):
        """Takes a case in if it was asked for; what `make` gives submits it once."""
        if not name.startswith("copy") and self.chosen and not any(part in name for part in self.chosen):
            return
        try:
            case = dict(name=name, work=work, submit=make(), times=[], repeats=1)
            self.time(case, 1)
            once = self.time(case, 2)
        except self.torch.OutOfMemoryError:
            print(f"{name}: too little memory")
            return
        if work[0] == "launches":
            case["repeats"] = work[1]
        elif not self.quick:
            case["repeats"] = max(1, min(1000, int(TURN / once)))
        self.cases.append(case)

    def time(self, case, repeats):
        """Seconds that it takes once, in a turn of so many."""
        submit, launches = case["submit"], case["work"][0] == "launches"
        taken, left = 0.0, repeats
        self.wait()
        while left:
            now = min(left, QUEUED) if launches else left
            start = time.perf_counter()
            for _ in range(now):
                submit()
            if launches:
                taken += time.perf_counter() - start
                self.wait()
            else:
                self.wait()
                taken += time.perf_counter() - start
            left -= now
        return taken / repeats

    def run(self):
        rounds = 2 if self.quick else ROUNDS
        for _ in range(rounds):
            for case in self.cases:
                case["times"].append(self.time(case, case["repeats"]))
        print(f"Medians of {rounds} rounds; what is not stated is f32.\n")
        print("| case | time | rate | share |\n|-|-|-|-|")
        copy = next((case for case in self.cases if case["name"].startswith("copy")), None)
        for case in self.cases:
            taken, (kind, amount) = statistics.median(case["times"]), case["work"]
            rate = share = "–"
            if kind == "bytes":
                rate = f"{amount / taken / 1e9:.1f} GB/s"
                if copy and case is not copy:
                    pairs = zip(case["times"], copy["times"])
                    ratio = statistics.median(amount / own / (copy["work"][1] / whole) for own, whole in pairs)
                    share = f"{ratio:.2f} of the copy"
            elif kind == "flops":
                rate = f"{amount / taken / 1e12:.2f} TFLOP/s"
            print(f"| {case['name']} | {shown(taken)} | {rate} | {share} |")


def shown(seconds):
    """A time of three digits."""
    units = ((1e9, "ns"), (1e6, "µs"), (1e3, "ms"), (1, "s"))
    factor, unit = next(((factor, unit) for factor, unit in units if seconds * factor < 1000), units[-1])
    value = seconds * factor
    return f"{value:.{0 if value >= 100 else 2 if value < 10 else 1}f} {unit}"


def memory(bench, copy, elements, lines, **_):
    functional = bench.torch.nn.functional
    source = bench.torch.zeros(copy, dtype=bench.torch.uint8, device=bench.device)
    bench.add(f"copy of {copy / (1 << 20):g} MiB", ("bytes", 2 * copy), lambda: source.clone)
    many = f"{elements >> 20}M" if elements >= 1 << 20 else str(elements)
    x = bench.numbers(elements)
    twice = ("bytes", 8 * elements)
    bench.add(f"x³ + 3x² − 5x + 4 of {many}", twice, lambda: lambda: x**3 + 3 * x**2 - 5 * x + 4)
    bench.add(f"GELU of {many}", twice, lambda: lambda: functional.gelu(x))
    bench.add(f"sum of {many}", ("bytes", 4 * elements), lambda: x.sum)
    rows, columns = lines
    lined, both = bench.numbers(rows, columns), ("bytes", 8 * rows * columns)
    weight, bias = bench.numbers(columns), bench.numbers(columns)
    bench.add(f"softmax of rows {rows}×{columns}", both, lambda: lambda: lined.softmax(1))
    bench.add(
        f"layer norm {rows}×{columns}", both, lambda: lambda: functional.layer_norm(lined, (columns,), weight, bias, 1e-5)
    )


def products(bench, sides, **_):
    torch = bench.torch

    def submitted(a, b, tf32):
        def submit():
            torch.backends.cuda.matmul.allow_tf32 = tf32
            a @ b
            torch.backends.cuda.matmul.allow_tf32 = False

        return submit

    for side in sides:
        for kind, dtype in (("f32", torch.float32), ("TF32", torch.float32), ("bf16", torch.bfloat16)):
            make = lambda: submitted(
                bench.numbers(side, side, dtype=dtype), bench.numbers(side, side, dtype=dtype), kind == "TF32"
            )
            bench.add(f"matmul {kind} {side}²", ("flops", 2.0 * side**3), make)


def launches(bench, launches, **_):
    def make():
        x = bench.numbers(256)
        y = [x]

        def submit():
            y[0] = y[0] + x

        return submit

    bench.add("launch of an addition of 256", ("launches", launches), make)


def learning(bench, batch, layers, **_):
    torch = bench.torch

    def make():
        x = bench.numbers(batch, layers[0])
        target = torch.arange(batch, device=bench.device) * 7 % layers[3]
        model = torch.nn.Sequential(
            torch.nn.Linear(layers[0], layers[1]),
            torch.nn.ReLU(),
            torch.nn.Linear(layers[1], layers[2]),
            torch.nn.ReLU(),
            torch.nn.Linear(layers[2], layers[3]),
        ).to(bench.device)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

        def submit():
            loss = torch.nn.functional.cross_entropy(model(x), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        return submit

    bench.add(f"MLP {'-'.join(map(str, layers))} step, batch {batch}", ("steps", 0), make)


def main():
    arguments = sys.argv[1:]
    quick, cpu = "--quick" in arguments, "--cpu" in arguments
    try:
        import torch
    except ImportError:
        print("no PyTorch in this Python")
        return
    if not cpu and not torch.cuda.is_available():
        print(f"PyTorch {torch.__version__} finds no CUDA device")
        return
    device = "cpu" if cpu else "cuda"
    print(f"PyTorch {torch.__version__} on {torch.cuda.get_device_name() if device == 'cuda' else 'the CPU'}")
    bench = Bench(torch, device, quick, [argument for argument in arguments if not argument.startswith("-")])
    chosen = sizes(quick)
    for part in (memory, products, launches, learning):
        part(bench, **chosen)
    bench.run()


if __name__ == "__main__":
    main()
