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
    // 2^x within 8e-5, a fiftieth of what bf16 rounds away: a minimax polynomial on [0, 1).
    static Vec power(Vec x) {
        Vec f = _mm512_reduce_ps(x, 0x09), p = fma(set(7.80245234e-2f), f, set(2.26067160e-1f));
        return _mm512_scalef_ps(fma(fma(p, f, set(6.95833536e-1f)), f, set(9.99925219e-1f)), x);
    }
    static void pack(Word* to, const Vec (&x)[2]) { _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh(x[1], x[0])); }
};

EXPORT int attention(const Attention* a) { return Flash<Pairs>(*a).run(); }
