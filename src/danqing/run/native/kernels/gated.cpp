// Rows [a, b] of two halves to a gelu(b), in bf16 and fp32:
//
//     gelu(b) = b Phi(b) = max(b, 0) - |b| erfc(|b| / sqrt 2) / 2
//
// where the second term alone is computed, so that nothing cancels: erfc(z) = t p(t) exp(-z^2), t = 1 / (1 + c z), as
// Abramowitz & Stegun 1964, 7.1.26, with minimax polynomials p of our own, erfc within 5e-9 for fp32 and 1.3e-5 for bf16.
#include "parallel.h"
#include "product.h"

// As native/gated.py lays it out. `channels` are those of y, `wide` says whether x and y are fp32, else bf16.
struct Gated {
    const void* x;
    void* y;
    int64_t rows, channels, wide;
    Pool pool;
    int64_t threads;
};

constexpr float ROOT = 0.70710678f, POWER = -0.72134752f;  // 1 / sqrt 2, -log2(e) / 2

// p(x) by Horner's rule, the coefficient of the highest power first.
template <int N> inline Vec polynomial(const float (&p)[N], Vec x) {
    Vec y = set(p[0]);
    for (int i = 1; i < N; i++) y = fma(y, x, set(p[i]));
    return y;
}

inline Vec gelu(Vec b, float) {
    static const float p[] = {-0.199240956f, 0.778614174f, -0.693496561f, 0.698616927f,
                              -0.0170881598f, 0.23862561f, 0.193968961f};
    const Vec size = largest(b, set(0) - b), t = set(1) / fma(set(0.35f * ROOT), size, set(1));
    return largest(b, set(0)) - size * (set(0.5f) * t * polynomial(p, t) * exp2(b * b * set(POWER)));
}

#ifdef __AVX512F__
inline Vec gelu(Vec b, bf16) {
    static const float p[] = {0.602137655f, -0.173687962f, 0.363356275f, 0.208206911f};
    const Vec size = largest(b, set(0) - b), t = _mm512_rcp14_ps(fma(set(0.4f * ROOT), size, set(1)));
    return largest(b, set(0)) - size * (set(0.5f) * t * polynomial(p, t) * exp2_coarse(b * b * set(POWER)));
}
#else
inline Vec gelu(Vec b, bf16) { return gelu(b, float()); }
#endif

template <class T> static int gate(const Gated& a) {
    const int64_t C = a.channels, step = C < 4096 ? 4096 / C : 1;
    parallel(a.pool, a.threads, (a.rows + step - 1) / step, [&](int64_t i) {
        for (int64_t r = i * step; r < least(a.rows, (i + 1) * step); r++) {
            const T* x = (const T*)a.x + r * 2 * C;
            auto one = [&](int64_t c, int64_t n) {
                store((T*)a.y + r * C + c, load(x + c, n) * gelu(load(x + C + c, n), T()), n);
            };
            int64_t c = 0;
            for (; c + WIDTH <= C; c += WIDTH) one(c, WIDTH);
            if (c < C) one(c, C - c);
        }
    });
    return 0;
}

EXPORT int gated(const Gated* a) { return a->wide ? gate<float>(*a) : gate<bf16>(*a); }
