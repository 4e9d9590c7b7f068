// Products of matrices in registers, for kernels that multiply blocks which they packed themselves.
//
// A `Kind` says how numbers are multiplied: Element (in memory), Word (what one lane of a product holds: PAIR elements),
// ROWS x COLUMNS (the registers of one product), words(p) (a vector of words), dot(sum, word, words).
#pragma once
#include <type_traits>

#include "vector.h"

struct Singles {
    typedef float Element;
    typedef float Word;
    typedef Vec Words;
    static constexpr int PAIR = 1, ROWS = 6, COLUMNS = WIDTH == 16 ? 4 : 2;

    static Words words(const Word* p) { return load(p); }
    static Vec dot(Vec sum, Word a, Words b) { return fma(set(a), b, sum); }
};

#ifdef __AVX512BF16__
struct Halves {
    typedef bf16 Element;
    typedef uint32_t Word;  // two neighbours of a row
    typedef __m512bh Words;
    static constexpr int PAIR = 2, ROWS = 6, COLUMNS = 4;

    static Words words(const Word* p) { return (__m512bh)_mm512_loadu_si512(p); }
    static Vec dot(Vec sum, Word a, Words b) { return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_epi32(int(a)), b); }
};
#endif

// sums += a (R rows of words, `lda` apart) x b (depth rows of N vectors, `ldb` apart), depth after depth; what lies AHEAD
// bytes behind b is fetched meanwhile, where that is any.
template <class Kind, int N, int AHEAD = 0, int R>
inline __attribute__((always_inline)) void multiply(const typename Kind::Word* a, int64_t lda,
                                                    const typename Kind::Word* b, int64_t ldb, int64_t depth,
                                                    Vec (&sums)[R][N]) {
    for (int64_t d = 0; d < depth; d++) {
        typename Kind::Words w[N];
        for (int j = 0; j < N; j++) w[j] = Kind::words(b + d * ldb + j * WIDTH);
        if constexpr (AHEAD > 0)
            for (int j = 0; j < N; j++) _mm_prefetch((const char*)(b + d * ldb + j * WIDTH) + AHEAD, _MM_HINT_T1);
        for (int i = 0; i < R; i++)
            for (int j = 0; j < N; j++) sums[i][j] = Kind::dot(sums[i][j], a[i * lda + d], w[j]);
    }
}

// f(n), where n <= COLUMNS is known to the compiler.
template <int COLUMNS, class F> inline void columns(int64_t n, const F& f) {
    if (n == COLUMNS) return f(std::integral_constant<int, COLUMNS>());
    if constexpr (COLUMNS > 1) columns<COLUMNS - 1>(n, f);
}

inline int64_t up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
