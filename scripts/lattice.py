#!/usr/bin/env python3
"""Security of an RLWE parameter set: python3 scripts/lattice.py N LOG2_Q [SIGMA]

Prints the block size and the log2 of the cost of the primal attack by a unique shortest vector (Alkim, Ducas, Poppelmann,
Schwabe: "Post-quantum key exchange", 2016), for secrets uniform in {-1, 0, 1} and noise of deviation SIGMA (3.24):

- lattice: of n + m + 1 dimensions from m samples, secrets scaled up to the noise, so that the wanted vector has entries of sigma;
- basis: falls geometrically by the root Hermite factor of BKZ with blocks of beta (Chen, 2013);
- success: the vector's projection to the last block, sigma sqrt(beta), is no longer than the basis vector that BKZ finds there;
- cost: 2^(0.292 beta + 16.4) operations for a block (Becker, Ducas, Gama, Laarhoven, 2016), 8 blocks a dimension.

A cross-check of the table in engine/src/rlwe/params.rs, which is the authority; not a full estimator (no hybrid or dual attacks).
"""

import math
import sys


def log2_root_hermite(beta):
    """log2 of the root Hermite factor of BKZ with blocks of beta, from about 50 on."""
    return (math.log2(beta / (2 * math.pi * math.e)) + math.log2(math.pi * beta) / beta) / (2 * (beta - 1))


def dimension(n, log2_q, sigma, beta):
    """The least dimension in which blocks of beta find the secret; none if there is none."""
    secret = math.sqrt(2 / 3)
    slope = log2_root_hermite(beta)
    for samples in range(n // 2, 3 * n, n // 64):
        d = n + samples + 1
        volume = samples * log2_q + n * math.log2(sigma / secret)
        if math.log2(sigma) + math.log2(beta) / 2 <= (2 * beta - d - 1) * slope + volume / d:
            return d
    return None


def attack(n, log2_q, sigma):
    """The least block size and log2 of the cost."""
    low, high = 60, 4000
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if dimension(n, log2_q, sigma, middle) else (middle, high)
    return high, 0.292 * high + 16.4 + math.log2(8 * dimension(n, log2_q, sigma, high))


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: lattice.py N LOG2_Q [SIGMA]")
    beta, bits = attack(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) == 4 else 3.24)
    print(f"{beta} {bits:.1f}")
