// Linear layers and convolutions in whole numbers: what comes is rounded to 8 or 16 bits, multiplied with weights of 8
// bits and summed exactly (VNNI), and scaled at the end:
//
//     u = rint(x / step) + zero,  0 <= u <= most,    y = step scale_n (sum u w_n - zero sum w_n) + bias_n
//
// A unit of rows has a step and a zero of its own: a picture for a convolution, a row for a linear layer. Sums of whole
// numbers are exact, so neither batch nor threads move a bit. A linear layer is a convolution by 1 x 1 of pictures one
// cell high. 16 bits are two planes of bytes, u = 256 high + low, each multiplied by itself.
#include "octets.h"

constexpr int64_t ROWS = 6, COLUMNS = 4, PANEL = COLUMNS * WIDTH, GROUP = 96;
typedef __m512i Whole;
typedef int32_t __attribute__((may_alias, aligned(1))) Four;

// The low bytes go to u, and the high ones, where there are planes of them, `apart` further.
template <class T>
static void round_to_bytes(const T* x, uint8_t* u, int64_t n, int64_t planes, int64_t apart, float step, float zero) {
    const Vec over = set(1 / step), shift = set(zero), most = set(planes == 2 ? 65535 : 255);
    for (int64_t c = 0; c < n; c += WIDTH) {
        int64_t k = least(WIDTH, n - c);
        const Vec v = smallest(largest(rounded(load(x + c, k) * over) + shift, set(0)), most);
        Whole whole = _mm512_cvttps_epi32(v);
        for (int64_t p = 0; p < planes; p++, whole = _mm512_srli_epi32(whole, 8)) {
            __m128i bytes = _mm512_cvtepi32_epi8(whole);
            if (k == WIDTH)
                _mm_storeu_si128((__m128i*)(u + p * apart + c), bytes);
            else
                memcpy(u + p * apart + c, &bytes, k);
        }
    }
}

// sums (ROWS rows of N vectors) = start (those, or null for zeros) + rows of words (each `depth` fours of bytes, at its
// own place) x panel (depth, COLUMNS, WIDTH, 4). The sums are local, so that they stay in registers.
template <int N>
static void multiply(const uint8_t* const* rows, const int8_t* panel, int64_t depth, const int32_t* start, int32_t* sums) {
    Whole s[ROWS][N];
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 8
        for (int j = 0; j < N; j++)
            s[i][j] = start ? _mm512_load_si512(start + (i * N + j) * WIDTH) : _mm512_setzero_si512();
    for (int64_t d = 0; d < depth; d++) {
        const int8_t* four = panel + d * COLUMNS * 4 * WIDTH;
#pragma GCC unroll 8
        for (int i = 0; i < ROWS; i++) {
            const Whole u = _mm512_set1_epi32(*(const Four*)(rows[i] + 4 * d));
#pragma GCC unroll 8
            for (int j = 0; j < N; j++)
                s[i][j] = _mm512_dpbusd_epi32(s[i][j], u, _mm512_loadu_si512(four + j * 4 * WIDTH));
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 8
        for (int j = 0; j < N; j++) _mm512_store_si512(sums + (i * N + j) * WIDTH, s[i][j]);
}

template <class T> static int layer(const Bytes& a) {
    const int64_t C = a.channels, deep = up(C, 4), taps = a.kernel * a.kernel, N = a.outputs;
    const int64_t broad = a.width + 2 * a.padding, tall = a.height + 2 * a.padding;
    const int64_t cells = a.high * a.wide, units = a.alone ? a.batch * a.width : a.batch;
    const int64_t apart = a.batch * tall * broad * deep;  // of the planes
    const float most = a.planes == 2 ? 65535 : 255;
    Buffer<uint8_t> bytes(size_t(a.planes * apart));
    Buffer<float> steps(size_t(2 * units));
    if (!bytes.data || !steps.data) return 1;
    float* zeros = steps.data + units;

    if (a.alone)  // a row at a time is read once
        parallel(a.pool, a.threads, (units + GROUP - 1) / GROUP, [&](int64_t i) {
            for (int64_t r = i * GROUP; r < least(units, (i + 1) * GROUP); r++) {
                Range<T> range;
                range.see((const T*)a.x + r * C, C);
                range.told(most, steps.data + r, zeros + r);
                uint8_t* u = bytes.data + r * deep;
                round_to_bytes((const T*)a.x + r * C, u, C, a.planes, apart, steps.data[r], zeros[r]);
                for (int64_t p = 0; p < a.planes; p++) memset(u + p * apart + C, 0, deep - C);
            }
        });
    else {
        parallel(a.pool, a.threads, units, [&](int64_t b) {
            const int64_t count = a.height * a.width * C;
            Range<T> range;
            range.see((const T*)a.x + b * count, count);
            range.told(most, steps.data + b, zeros + b);
        });
        parallel(a.pool, a.threads, a.batch * tall, [&](int64_t i) {
            const int64_t b = i / tall, row = i % tall - a.padding;
            uint8_t* u = bytes.data + i * broad * deep;
            const bool outside = row < 0 || row >= a.height;
            for (int64_t p = 0; p < a.planes; p++) {  // 0 is `zero`, around the picture and behind its channels
                const int none = int(zeros[b]) >> 8 * p & 255;
                uint8_t* plane = u + p * apart;
                if (outside || deep != C) {
                    memset(plane, none, broad * deep);
                } else {
                    memset(plane, none, a.padding * deep);
                    memset(plane + (a.padding + a.width) * deep, none, a.padding * deep);
                }
            }
            if (outside) return;
            const T* x = (const T*)a.x + (b * a.height + row) * a.width * C;
            const int64_t pieces = deep == C ? 1 : a.width, piece = a.width / pieces;
            for (int64_t c = 0; c < pieces; c++)
                round_to_bytes(x + c * C, u + (a.padding + c) * deep, piece * C, a.planes, apart, steps.data[b], zeros[b]);
        });
    }

    const int64_t groups = (cells + GROUP - 1) / GROUP, panels = (N + PANEL - 1) / PANEL;
    parallel(a.pool, a.threads, panels * a.batch * groups, [&](int64_t task) {
        // All panels of a group of rows after each other, so that what they write lies together.
        const int64_t p = task % panels, b = task / panels / groups, from = task / panels % groups * GROUP;
        const int64_t count = least(GROUP, cells - from), n = p * PANEL;
        const int8_t* panel = a.weight + p * taps * deep * PANEL;
        const uint8_t* picture = bytes.data + b * tall * broad * deep;
        columns<COLUMNS>(least(COLUMNS, up(N - n, WIDTH) / WIDTH), [&](auto number) {
            constexpr int V = decltype(number)::value;
            alignas(64) int32_t held[2][GROUP * V * WIDTH];
            for (int64_t i = 0; i < a.planes * taps; i++) {
                const int64_t plane = i % a.planes, tap = i / a.planes;
                for (int64_t r = 0; r < count; r += ROWS) {
                    const uint8_t* rows[ROWS];
                    for (int i = 0; i < ROWS; i++) {
                        const int64_t m = from + least(r + i, count - 1);
                        const int64_t y = m / a.wide * a.stride + tap / a.kernel, x = m % a.wide * a.stride + tap % a.kernel;
                        rows[i] = picture + plane * apart + (y * broad + x) * deep;
                    }
                    int32_t* sums = held[plane] + r * V * WIDTH;
                    multiply<V>(rows, panel + tap * deep * PANEL, deep / 4, tap ? sums : nullptr, sums);
                }
            }
            for (int64_t r = 0; r < count; r++) {
                const int64_t m = from + r, unit = a.alone ? m : b;
                const Vec step = set(steps.data[unit]);
                const int zero = int(zeros[unit]);
                T* y = (T*)a.y + (b * cells + m) * N + n;
                for (int j = 0; j < V; j++) {
                    const int64_t at = n + j * WIDTH;
                    Vec sum = set(0);
                    for (int64_t p = a.planes; p--;) {
                        const Whole moved = _mm512_mullo_epi32(_mm512_set1_epi32(zero >> 8 * p & 255),
                                                               _mm512_loadu_si512(a.sums + at));
                        const Whole own = _mm512_load_si512(held[p] + (r * V + j) * WIDTH);
                        sum = fma(sum, set(256), _mm512_cvtepi32_ps(_mm512_sub_epi32(own, moved)));
                    }
                    Vec v = fma(sum, step * load(a.scale + at), load(a.bias + at));
                    store(y + j * WIDTH, v, least(WIDTH, N - at));
                }
            }
        });
    });
    return 0;
}

EXPORT int multiply_bytes(const Bytes* a) { return a->singles ? layer<float>(*a) : layer<bf16>(*a); }
