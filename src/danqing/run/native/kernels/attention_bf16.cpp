// Attention in bf16 with AVX512-BF16: products of pairs, summed in fp32.
#include "flash.h"

struct Blocks : Halves {
    static constexpr int KEYS = 256;

    static Word join(const bf16* const* rows, int64_t d) { return rows[0][d] | Word(rows[1][d]) << 16; }
    static Vec power(Vec x) { return exp2_coarse(x); }
    static void pack(Word* to, const Vec (&x)[2]) { _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh(x[1], x[0])); }
};

EXPORT int attention(const Attention* a) { return Flash<Blocks>(*a).run(); }
