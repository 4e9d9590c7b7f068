// Attention in bf16 with AVX512-BF16: products of pairs, summed in fp32.
#include "flash.h"

struct Pairs {
    typedef bf16 Element;
    typedef uint32_t Word;  // two neighbours of a row
    typedef __m512bh Words;
    static constexpr int PAIR = 2, ROWS = 6, COLUMNS = 4, KEYS = 256;

    static Word join(const bf16* const* rows, int64_t d) { return rows[0][d] | Word(rows[1][d]) << 16; }
    static Words words(const Word* p) { return (__m512bh)_mm512_loadu_si512(p); }
    static Vec dot(Vec sum, Word a, Words b) { return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_epi32(int(a)), b); }
    static Vec power(Vec x) { return exp2_coarse(x); }
    static void pack(Word* to, const Vec (&x)[2]) { _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh(x[1], x[0])); }
};

EXPORT int attention(const Attention* a) { return Flash<Pairs>(*a).run(); }
