// Convolution by a 3 x 3 kernel in bf16 by F(2 x 2, 3 x 3): 16 products in place of 36, summed in fp32.
#include "winograd.h"

// The kernels are polynomials that are multiplied at 0, +-1 and infinity: B and A hold 0 and +-1 alone, so that what is
// transformed is rounded once, as it is stored.
struct Twos : Halves {
    static constexpr int SIDE = 2, PART = 128, TILES = 6 * ROWS;
    static constexpr bool TURNS = false;

    // Two to a word: the transform sees the first of each, and then the second.
    static Vec part(int second, const bf16* p, int64_t n) {
        const __m512i words = _mm512_maskz_loadu_epi16(of(n), p);
        const __m512i seconds = _mm512_and_si512(words, _mm512_set1_epi32(0xffff0000));
        return _mm512_castsi512_ps(second ? seconds : _mm512_slli_epi32(words, 16));
    }
    static void join(bf16* p, const Vec (&parts)[2], int64_t n) {
        const __m512i halves = (__m512i)_mm512_cvtne2ps_pbh(parts[1], parts[0]);
        const __m512i in_turn = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                                 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
        _mm512_mask_storeu_epi16(p, of(n), _mm512_permutexvar_epi16(in_turn, halves));
    }
    static __mmask32 of(int64_t n) { return n < 32 ? (1u << n) - 1 : ~0u; }

    static void enter(const Vec* x, int s, Vec* y) {
        y[0] = x[0] - x[2 * s];
        y[s] = x[s] + x[2 * s];
        y[2 * s] = x[2 * s] - x[s];
        y[3 * s] = x[3 * s] - x[s];
    }

    static void leave(const Vec* x, int s, Vec* y, int t) {
        y[0] = x[0] + x[s] + x[2 * s];
        y[t] = x[s] - x[2 * s] + x[3 * s];
    }
};

EXPORT int panel() { return Winograd<Twos>::PANEL; }
EXPORT int convolution(const Convolution* a) { return Winograd<Twos>(*a).run(); }
