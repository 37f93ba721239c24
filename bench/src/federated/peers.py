"""Seconds of other libraries for one ciphertext: argv = bits of Paillier's modulus, clients. JSON on standard output, by
library: seconds of encrypt, aggregate (all clients' sums) and combine (decryption), bytes and numbers of a ciphertext, and
whether what came out is right. What isn't installed is left out."""

import json
import random
import sys
import time

bits, clients = int(sys.argv[1]), int(sys.argv[2])
found = {}


def timed(run, times):
    begun = time.perf_counter()
    for _ in range(times):
        out = run()
    return (time.perf_counter() - begun) / times, out


try:
    from phe import paillier

    public, private = paillier.generate_paillier_keypair(n_length=bits)
    # As many numbers of 16 bits, and two for sums, as fit: packed as here. One key decrypts, there are no thresholds.
    each = (bits - 1) // (16 + (clients - 1).bit_length())
    texts = [random.getrandbits(bits - 64) for _ in range(clients)]
    encrypt, first = timed(lambda: public.raw_encrypt(texts[0]), 10)
    sealed = [first] + [public.raw_encrypt(text) for text in texts[1:]]

    def total():
        product = sealed[0]
        for c in sealed[1:]:
            product = product * c % public.nsquare
        return product

    aggregate, product = timed(total, 50)
    combine, opened = timed(lambda: private.raw_decrypt(product), 10)
    found["python-paillier"] = dict(
        encrypt=encrypt, aggregate=aggregate, combine=combine, bytes=bits // 4, each=each, checked=opened == sum(texts)
    )
except ImportError:
    pass

try:
    import tenseal

    context = tenseal.context(tenseal.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[60, 40, 40, 60])
    context.global_scale = 2**40
    vectors = [[random.uniform(-1, 1) for _ in range(4096)] for _ in range(clients)]
    encrypt, first = timed(lambda: tenseal.ckks_vector(context, vectors[0]), 10)
    sealed = [first] + [tenseal.ckks_vector(context, v) for v in vectors[1:]]
    aggregate, product = timed(lambda: sum(sealed[1:], sealed[0]), 10)
    combine, opened = timed(product.decrypt, 10)
    off = max(abs(x - sum(column)) for x, column in zip(opened, zip(*vectors)))
    found["tenseal"] = dict(
        encrypt=encrypt, aggregate=aggregate, combine=combine, bytes=len(first.serialize()), each=4096, checked=off < 1e-4
    )
except ImportError:
    pass

print(json.dumps(found))
