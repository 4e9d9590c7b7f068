// One vector of floats of the instruction set that is compiled for, AVX-512 or AVX2: the few operations that the kernels
// need. NaN goes through every one of them.
#pragma once
#include <immintrin.h>

#include <cstdint>
#include <cstring>

typedef uint16_t bf16;

#ifdef __AVX512F__
typedef __m512 Vec;
constexpr int WIDTH = 16;
inline Vec set(float x) { return _mm512_set1_ps(x); }
inline Vec load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, Vec x) { _mm512_storeu_ps(p, x); }
inline Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
inline Vec largest(Vec a, Vec b) { return _mm512_max_ps(a, b); }  // b where either is NaN
inline Vec smallest(Vec a, Vec b) { return _mm512_min_ps(a, b); }
inline Vec rounded(Vec x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline float largest_of(Vec x) { return _mm512_reduce_max_ps(x); }
inline float sum_of(Vec x) { return _mm512_reduce_add_ps(x); }
inline Vec times_power(Vec x, Vec n) { return _mm512_scalef_ps(x, n); }  // x * 2^n
inline Vec load(const bf16* p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p)), 16));
}
inline void store(bf16* p, Vec x) {
#ifdef __AVX512BF16__
    _mm256_storeu_si256((__m256i*)p, (__m256i)_mm512_cvtneps_pbh(x));
#else
    __m512i u = _mm512_castps_si512(x);
    __m512i even = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    __m512i r = _mm512_srli_epi32(_mm512_add_epi32(u, _mm512_add_epi32(even, _mm512_set1_epi32(0x7fff))), 16);
    r = _mm512_mask_mov_epi32(r, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), _mm512_set1_epi32(0x7fc0));
    _mm256_storeu_si256((__m256i*)p, _mm512_cvtepi32_epi16(r));
#endif
}
#else
typedef __m256 Vec;
constexpr int WIDTH = 8;
inline Vec set(float x) { return _mm256_set1_ps(x); }
inline Vec load(const float* p) { return _mm256_loadu_ps(p); }
inline void store(float* p, Vec x) { _mm256_storeu_ps(p, x); }
inline Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
inline Vec largest(Vec a, Vec b) { return _mm256_max_ps(a, b); }
inline Vec smallest(Vec a, Vec b) { return _mm256_min_ps(a, b); }
inline Vec rounded(Vec x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline float largest_of(Vec x) {
    __m128 a = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    a = _mm_max_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_max_ss(a, _mm_movehdup_ps(a)));
}
inline float sum_of(Vec x) {
    __m128 a = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    a = _mm_add_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_add_ss(a, _mm_movehdup_ps(a)));
}
inline Vec times_power(Vec x, Vec n) {  // x * 2^n, x near 1; 0 below 2^-125
    __m256i exponent = _mm256_slli_epi32(_mm256_cvtps_epi32(largest(n, set(-125))), 23);
    Vec y = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), exponent));
    y = _mm256_blendv_ps(y, x, _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    return _mm256_andnot_ps(_mm256_cmp_ps(n, set(-125), _CMP_LT_OQ), y);
}
inline Vec load(const bf16* p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)p)), 16));
}
inline void store(bf16* p, Vec x) {
    __m256i u = _mm256_castps_si256(x);
    __m256i even = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    __m256i r = _mm256_srli_epi32(_mm256_add_epi32(u, _mm256_add_epi32(even, _mm256_set1_epi32(0x7fff))), 16);
    r = _mm256_blendv_epi8(r, _mm256_set1_epi32(0x7fc0), _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)));
    __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(r, r), 0xd8);
    _mm_storeu_si128((__m128i*)p, _mm256_castsi256_si128(packed));
}
#endif

inline float lane(Vec x) { return x[0]; }

// The first n numbers of a vector, n <= WIDTH; what is beyond them is neither read nor written, and reads as 0.
template <class T> inline Vec load(const T* p, int64_t n) {
    if (n == WIDTH) return load(p);
    T part[WIDTH] = {};
    memcpy(part, p, n * sizeof(T));
    return load(part);
}
template <class T> inline void store(T* p, Vec x, int64_t n) {
    if (n == WIDTH) return store(p, x);
    T part[WIDTH];
    store(part, x);
    memcpy(p, part, n * sizeof(T));
}

// Numbers rounded as they are stored.
inline Vec once(Vec x, float) { return x; }
#ifdef __AVX512BF16__
inline Vec once(Vec x, bf16) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(x)), 16));
}
#endif

// The first n numbers, and 0 in the place of the others.
inline Vec only(Vec x, int64_t n) {
    float part[WIDTH];
    store(part, x);
    return load(part, n);
}

// 2^x for x < 128, within 1e-7 of it; 0 for -infinity. A minimax polynomial on [-1/2, 1/2].
inline Vec exp2(Vec x) {
    x = smallest(set(127.5f), largest(set(-160), x));
    Vec n = rounded(x), f = x - n;
    Vec p = fma(set(1.53458e-4f), f, set(1.33999313e-3f));
    p = fma(p, f, set(9.61848896e-3f));
    p = fma(p, f, set(5.55032878e-2f));
    p = fma(p, f, set(2.40226469e-1f));
    p = fma(p, f, set(6.93147206e-1f));
    return times_power(fma(p, f, set(1)), n);
}

// 1 / (1 + 2^-x).
inline Vec logistic2(Vec x) { return set(1) / (set(1) + exp2(set(0) - x)); }

// The same for bf16, which rounds away fifty times as much: 2^x within 8e-5, a minimax polynomial on [0, 1).
#ifdef __AVX512F__
inline Vec exp2_coarse(Vec x) {
    Vec f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC), p;
    p = fma(set(7.80245234e-2f), f, set(2.26067160e-1f));
    return _mm512_scalef_ps(fma(fma(p, f, set(6.95833536e-1f)), f, set(9.99925219e-1f)), x);
}
inline Vec logistic2_coarse(Vec x) { return _mm512_rcp14_ps(set(1) + exp2_coarse(set(0) - x)); }
#else
inline Vec logistic2_coarse(Vec x) { return logistic2(x); }
#endif
