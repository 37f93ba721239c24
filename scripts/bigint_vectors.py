"""Known answers for integers modulo n^2, by Python's own integers.

    python3 scripts/bigint_vectors.py > engine/src/bigint/known_answers.txt

A line a case, in hexadecimal: n, x, y, e, m, then x y mod n^2, x^e mod n^2, (1 + m n) y^e mod n^2.
"""
import random

draw = random.Random(2048)
for bits in (256, 512, 2048):
    n = draw.getrandbits(bits) | 1 | 1 << (bits - 1)
    top = n * n - 1
    square, half = n * n, bits // 2
    random_case = lambda: (draw.randrange(square), draw.randrange(square), draw.getrandbits(half), draw.randrange(n))
    cases = [random_case() for _ in range(2)]
    edges = [(top, top, (1 << bits // 2) - 1, n - 1), (n - 1, n + 1, 1, 1), (n, top - n, 2, 0), (0, top, 0, n - 1)]
    for x, y, e, m in cases + edges:
        blinded = (1 + m * n) * pow(y, e, n**2) % n**2
        print(*(f"{v:x}" for v in (n, x, y, e, m, x * y % n**2, pow(x, e, n**2), blinded)))
