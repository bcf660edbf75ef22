"""Writes reference.txt: arguments and correctly rounded results of vecmath's f64 functions, computed by mpmath.

    python reference.py 150 > reference.txt      # arguments per function; more for a closer look

Each line: name, argument bits (one or two, in hex), result bits, and what the exact result has beyond that, in ULP.
"""

import random
import struct
import sys

import mpmath
from mpmath import mp, mpf

mp.prec = 200
random.seed(20240229)
COUNT = int(sys.argv[1])


def bits(x):
    return struct.pack(">d", x).hex()


def positive(lo, hi):
    """Log-uniform."""
    return lambda: 2 ** random.uniform(lo, hi)


def signed(lo, hi):
    f = positive(lo, hi)
    return lambda: random.choice((-1, 1)) * f()


def uniform(a, b):
    return lambda: random.uniform(a, b)


def near(x, lo=-50, hi=-3):
    return lambda: x * (1 + random.choice((-1, 1)) * 2 ** random.uniform(lo, hi))


def quarter_turns(limit):
    """The doubles next to multiples of pi/2: the hardest arguments of sin and cos."""
    return lambda: float(mp.pi / 2 * random.randint(1, limit))


def gelu_tanh(x):
    w = mp.sqrt(8 / mp.pi) * (x + mpf("0.044715") * x**3)
    return x / (1 + mp.exp(-w))


def asin(x):
    return mp.asin(x) if abs(x) <= 1 else None


UNARY = {
    "exp": (mp.exp, [signed(-60, 9), uniform(-745, 709), uniform(-2, 2), uniform(-745, -708)]),
    "exp2": (lambda x: mpf(2) ** x, [signed(-60, 9), uniform(-1074, 1023), uniform(-2, 2), uniform(-1074, -1021)]),
    "expm1": (mp.expm1, [signed(-60, 9), uniform(-2, 2), uniform(-40, 709)]),
    "log": (mp.log, [positive(-1074, 1023), near(1), uniform(0.5, 2), positive(-1074, -1022)]),
    "log2": (lambda x: mp.log(x) / mp.ln2, [positive(-1074, 1023), near(1), uniform(0.5, 2), positive(-1074, -1022)]),
    "log10": (lambda x: mp.log(x) / mp.ln10, [positive(-1074, 1023), near(1), uniform(0.5, 2)]),
    "log1p": (mp.log1p, [signed(-60, -0.01), positive(-1, 1023), uniform(-0.9, 2), near(1)]),
    "sin": (mp.sin, [signed(-60, 20), uniform(-10, 10), quarter_turns(10**6), positive(20, 1023), quarter_turns(20)]),
    "cos": (mp.cos, [signed(-60, 20), uniform(-10, 10), quarter_turns(10**6), positive(20, 1023), quarter_turns(20)]),
    "tan": (mp.tan, [signed(-60, 20), uniform(-10, 10), quarter_turns(10**6), positive(20, 1023), quarter_turns(20)]),
    "asin": (asin, [signed(-60, 0), uniform(-1, 1), near(0.5), lambda: 1 - 2 ** random.uniform(-53, -1)]),
    "acos": (lambda x: mp.acos(x), [signed(-60, 0), uniform(-1, 1), near(0.5), lambda: 1 - 2 ** random.uniform(-53, -1)]),
    "atan": (mp.atan, [signed(-60, 60), uniform(-3, 3), near(1), near(0.41421356)]),
    "sinh": (mp.sinh, [signed(-60, 9), uniform(-3, 3), uniform(-710.4, 710.4)]),
    "cosh": (mp.cosh, [signed(-30, 9), uniform(-3, 3), uniform(-710.4, 710.4)]),
    "tanh": (mp.tanh, [signed(-60, 5), uniform(-3, 3), near(0.55)]),
    "asinh": (mp.asinh, [signed(-60, 1023), uniform(-3, 3)]),
    "acosh": (mp.acosh, [positive(0, 1023), uniform(1, 3), lambda: 1 + 2 ** random.uniform(-50, 0)]),
    "atanh": (mp.atanh, [signed(-60, -0.001), uniform(-1, 1), lambda: 1 - 2 ** random.uniform(-53, -1)]),
    "erf": (mp.erf, [signed(-60, 3), uniform(-3, 3), near(0.85)]),
    "erfc": (mp.erfc, [signed(-60, 4.7), uniform(-6, 6), uniform(0, 27.2), near(0.5)]),
    "sigmoid": (lambda x: 1 / (1 + mp.exp(-x)), [signed(-60, 9), uniform(-5, 5), uniform(-745, 40)]),
    "gelu": (lambda x: x / 2 * mp.erfc(-x / mp.sqrt(2)), [signed(-60, 6), uniform(-5, 5), uniform(-38.5, 10)]),
    "gelu_tanh": (gelu_tanh, [signed(-60, 6), uniform(-5, 5), uniform(-21, 10)]),
    "silu": (lambda x: x / (1 + mp.exp(-x)), [signed(-60, 9), uniform(-5, 5), uniform(-751, 40)]),
    "softplus": (lambda x: mp.log1p(mp.exp(x)) if x <= 20 else x, [signed(-60, 9), uniform(-5, 25), uniform(-745, 40)]),
    "rsqrt": (lambda x: 1 / mp.sqrt(x), [positive(-1074, 1023), uniform(0.25, 4)]),
    "lgamma": (lambda x: mp.loggamma(x).real, [positive(-60, 60), uniform(0, 20)]),
    "digamma": (mp.digamma, [positive(-60, 60), uniform(2, 20), uniform(-0.4, -0.1)]),
    "erfinv": (lambda x: mp.erfinv(x), [signed(-60, -0.01), uniform(-1, 1), lambda: 1 - 2 ** random.uniform(-52, -1)]),
}

BINARY = {
    "pow": (
        lambda x, y: mp.power(x, y),
        [
            lambda: (positive(-10, 10)(), signed(-6, 6)()),
            lambda: (near(1)(), signed(0, 40)()),
            lambda: (positive(-1074, 1023)(), uniform(-1.5, 1.5)()),
            lambda: (uniform(0.5, 2)(), uniform(-1000, 1000)()),
            lambda: (-float(random.randint(1, 100)), float(random.randint(-50, 50))),
        ],
    ),
    "atan2": (
        lambda y, x: mp.atan2(y, x),
        [
            lambda: (signed(-10, 10)(), signed(-10, 10)()),
            lambda: (signed(-1000, 1000)(), signed(-1000, 1000)()),
            lambda: (signed(1020, 1023.9)(), signed(1020, 1023.9)()),
            lambda: (signed(-1074, -1040)(), signed(-1074, -1040)()),
        ],
    ),
    "hypot": (
        lambda x, y: mp.sqrt(mpf(x) ** 2 + mpf(y) ** 2),
        [
            lambda: (signed(-3, 3)(), signed(-3, 3)()),
            lambda: (signed(1000, 1022)(), signed(1000, 1022)()),
            lambda: (signed(-1074, -1010)(), signed(-1074, -1010)()),
            lambda: (signed(495, 520)(), signed(495, 520)()),
        ],
    ),
}


def line(name, args, y):
    if y is None or not mpmath.isfinite(y) or isinstance(y, mpmath.mpc) and y.imag != 0:
        return
    y = mpmath.re(y)
    if abs(y) >= mpf(2) ** 1023.99:
        return
    rounded = float(y)
    ulp = mpf(2) ** (max(mp.frexp(y)[1] if y else -1021, -1021) - 53)
    rest = float((y - mpf(rounded)) / ulp)
    print(name, *map(bits, args), bits(rounded), f"{rest:.3f}")


for name, (f, sources) in UNARY.items():
    for i in range(COUNT):
        x = float(sources[i % len(sources)]())
        line(name, (x,), f(mpf(x)))
for name, (f, sources) in BINARY.items():
    for i in range(COUNT):
        x, y = sources[i % len(sources)]()
        line(name, (x, y), f(mpf(x), mpf(y)))
