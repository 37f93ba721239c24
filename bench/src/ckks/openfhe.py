"""Times CKKS operations of OpenFHE on one thread: n, limbs, bits of the first and of the other primes, digits.

Prints {operation: milliseconds}, or exits with 3 where OpenFHE is not installed.
"""

import json
import os
import statistics
import sys
import time

os.environ["OMP_NUM_THREADS"] = "1"

try:
    import openfhe as fhe
except ImportError:
    sys.exit(3)


def median(run):
    run()
    times, start = [], time.perf_counter()
    while len(times) < 5 or (time.perf_counter() - start < 0.5 and len(times) < 200):
        before = time.perf_counter()
        run()
        times.append((time.perf_counter() - before) * 1e3)
    return statistics.median(times)


def main():
    n, limbs, first, bits, digits = (int(a) for a in sys.argv[1:6])
    p = fhe.CCParamsCKKSRNS()
    p.SetSecurityLevel(fhe.SecurityLevel.HEStd_NotSet)
    p.SetSecretKeyDist(fhe.SecretKeyDist.UNIFORM_TERNARY)
    p.SetScalingTechnique(fhe.ScalingTechnique.FIXEDMANUAL)
    p.SetRingDim(n)
    p.SetMultiplicativeDepth(limbs - 1)
    p.SetFirstModSize(first)
    p.SetScalingModSize(bits)
    p.SetNumLargeDigits(digits)
    context = fhe.GenCryptoContext(p)
    for feature in (fhe.PKESchemeFeature.PKE, fhe.PKESchemeFeature.KEYSWITCH, fhe.PKESchemeFeature.LEVELEDSHE):
        context.Enable(feature)
    keys = context.KeyGen()
    context.EvalMultKeyGen(keys.secretKey)
    steps = list(range(1, 9))
    context.EvalRotateKeyGen(keys.secretKey, steps)
    values = [((i * 7919) % 10007) / 5003.5 - 1.0 for i in range(n // 2)]
    text = context.MakeCKKSPackedPlaintext(values)
    a = context.Encrypt(keys.publicKey, text)

    def hoisted():
        digits = context.EvalFastRotationPrecompute(a)
        return [context.EvalFastRotation(a, step, 2 * n, digits) for step in steps]

    times = {
        "encode": median(lambda: context.MakeCKKSPackedPlaintext(values)),
        "encrypt": median(lambda: context.Encrypt(keys.publicKey, text)),
        "add": median(lambda: context.EvalAdd(a, a)),
        "multiply_relinearise_rescale": median(lambda: context.Rescale(context.EvalMult(a, a))),
        "rotate": median(lambda: context.EvalRotate(a, 1)),
        "hoisted_rotate": median(hoisted) / len(steps),
    }
    print(json.dumps(times))


main()
