// Linear layers and convolutions in whole numbers: what comes is rounded to 8 bits, multiplied with weights of 8 bits and
// summed exactly (VNNI), and scaled at the end:
//
//     u = rint(x / step) + zero,  0 <= u <= 255,    y = step scale_n (sum u w_n - zero sum w_n) + bias_n
//
// A unit of rows has a step and a zero of its own: a picture for a convolution, a row for a linear layer. Sums of whole
// numbers are exact, so neither batch nor threads move a bit. A linear layer is a convolution by 1 x 1 of pictures one
// cell high.
#include "parallel.h"
#include "product.h"

// As native/bytes.py lays it out. `x` is (batch, height, width, channels), `weight` packed, `scale`, `sums` and `bias`
// (outputs), `y` (batch, high, wide, outputs).
struct Bytes {
    const void* x;
    const int8_t* weight;
    const float* scale;
    const int32_t* sums;
    const float* bias;
    void* y;
    int64_t batch, height, width, channels, outputs, high, wide, kernel, stride, padding, alone, singles;
    Pool pool;
    int64_t threads;
};

constexpr int64_t ROWS = 6, COLUMNS = 4, PANEL = COLUMNS * WIDTH, GROUP = 96;
typedef __m512i Whole;
typedef int32_t __attribute__((may_alias, aligned(1))) Four;

// The step and the zero of n numbers that lie in pieces: all of one unit. NaN if one of them is NaN or infinite.
template <class T> struct Range {
    Vec low = set(0), high = set(0), bad = set(0);
    void see(const T* x, int64_t n) {
        for (int64_t c = 0; c < n; c += WIDTH) {
            Vec v = load(x + c, least(WIDTH, n - c));
            low = smallest(v, low), high = largest(v, high), bad = fma(v, set(0), bad);
        }
    }
    void told(float* step, float* zero) const {
        const float l = -largest_of(set(0) - low), h = largest_of(high);
        *step = (h - l) / 255;
        if (!(*step > 0)) *step = 1;
        *step += sum_of(bad);
        *zero = lane(rounded(set(-l / *step)));
    }
};

template <class T> static void round_to_bytes(const T* x, uint8_t* u, int64_t n, float step, float zero) {
    const Vec over = set(1 / step), shift = set(zero);
    for (int64_t c = 0; c < n; c += WIDTH) {
        int64_t k = least(WIDTH, n - c);
        Vec v = largest(rounded(load(x + c, k) * over) + shift, set(0));
        __m128i packed = _mm512_cvtusepi32_epi8(_mm512_cvttps_epi32(v));
        if (k == WIDTH)
            _mm_storeu_si128((__m128i*)(u + c), packed);
        else
            memcpy(u + c, &packed, k);
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
    Buffer<uint8_t> bytes(size_t(a.batch * tall * broad * deep));
    Buffer<float> steps(size_t(2 * units));
    if (!bytes.data || !steps.data) return 1;
    float* zeros = steps.data + units;

    if (a.alone)  // a row at a time is read once
        parallel(a.pool, a.threads, (units + GROUP - 1) / GROUP, [&](int64_t i) {
            for (int64_t r = i * GROUP; r < least(units, (i + 1) * GROUP); r++) {
                Range<T> range;
                range.see((const T*)a.x + r * C, C);
                range.told(steps.data + r, zeros + r);
                uint8_t* u = bytes.data + r * deep;
                round_to_bytes((const T*)a.x + r * C, u, C, steps.data[r], zeros[r]);
                memset(u + C, 0, deep - C);
            }
        });
    else {
        parallel(a.pool, a.threads, units, [&](int64_t b) {
            const int64_t count = a.height * a.width * C;
            Range<T> range;
            range.see((const T*)a.x + b * count, count);
            range.told(steps.data + b, zeros + b);
        });
        parallel(a.pool, a.threads, a.batch * tall, [&](int64_t i) {
            const int64_t b = i / tall, row = i % tall - a.padding;
            uint8_t* u = bytes.data + i * broad * deep;
            const int none = int(zeros[b]);
            if (row < 0 || row >= a.height) {
                memset(u, none, broad * deep);
                return;
            }
            const T* x = (const T*)a.x + (b * a.height + row) * a.width * C;
            memset(u, none, a.padding * deep);
            u += a.padding * deep;
            if (deep == C)
                round_to_bytes(x, u, a.width * C, steps.data[b], zeros[b]);
            else
                for (int64_t c = 0; c < a.width; c++) {
                    round_to_bytes(x + c * C, u + c * deep, C, steps.data[b], zeros[b]);
                    memset(u + c * deep + C, 0, deep - C);
                }
            memset(u + a.width * deep, none, a.padding * deep);
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
            alignas(64) int32_t held[GROUP * V * WIDTH];
            for (int64_t tap = 0; tap < taps; tap++)
                for (int64_t r = 0; r < count; r += ROWS) {
                    const uint8_t* rows[ROWS];
                    for (int i = 0; i < ROWS; i++) {
                        const int64_t m = from + least(r + i, count - 1);
                        const int64_t y = m / a.wide * a.stride + tap / a.kernel, x = m % a.wide * a.stride + tap % a.kernel;
                        rows[i] = picture + (y * broad + x) * deep;
                    }
                    int32_t* sums = held + r * V * WIDTH;
                    multiply<V>(rows, panel + tap * deep * PANEL, deep / 4, tap ? sums : nullptr, sums);
                }
            for (int64_t r = 0; r < count; r++) {
                const int64_t m = from + r, unit = a.alone ? m : b;
                const Vec step = set(steps.data[unit]);
                const Whole zero = _mm512_set1_epi32(int(zeros[unit]));
                T* y = (T*)a.y + (b * cells + m) * N + n;
                for (int j = 0; j < V; j++) {
                    const int64_t at = n + j * WIDTH;
                    const Whole moved = _mm512_mullo_epi32(zero, _mm512_loadu_si512(a.sums + at));
                    const Whole sum = _mm512_sub_epi32(_mm512_load_si512(held + (r * V + j) * WIDTH), moved);
                    Vec v = fma(_mm512_cvtepi32_ps(sum), step * load(a.scale + at), load(a.bias + at));
                    store(y + j * WIDTH, v, least(WIDTH, N - at));
                }
            }
        });
    });
    return 0;
}

EXPORT int multiply_bytes(const Bytes* a) { return a->singles ? layer<float>(*a) : layer<bf16>(*a); }
