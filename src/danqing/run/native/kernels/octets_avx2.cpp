// Linear layers and convolutions in whole numbers where a processor has no products of bytes: what comes is rounded to 8
// or 16 bits, and multiplied as words of 16 with weights of 8 bits:
//
//     v = clamp(rint(x / step) + zero, 0, most) - zero,    y = step scale_n sum v w_n + bias_n
//
// Sums of whole numbers are exact, so neither batch nor threads move a bit. A linear layer is a convolution by 1 x 1 of
// pictures one cell high. 16 bits are two planes, v = 256 high + low, each multiplied by itself.
//
// A convolution by 3 x 3 goes by Winograd's F(2 x 2, 3 x 3), 16 products in place of 36. With 2 G in place of G it is whole:
//
//     4 y = A^T [((2 G) w (2 G)^T) . (B^T v B)] A,    |(2 G) w (2 G)^T| <= 9 127,  |B^T v B| <= 4 255
//
// so its sums are those of the direct one to the last bit: they may pass 32 bits on the way, but not 4 y at the end of one
// CHUNK of inputs. The kernels are transformed at each call, which a hundred tiles hardly notice, and take no memory.
#include "octets.h"

constexpr int64_t ROWS = 6, STRIP = 8, PANEL = 64;  // outputs of one product, and of a panel of weights
constexpr int64_t GROUP = 96;                       // rows that read the same weights, one strip after another
constexpr int64_t TILES = 96, NEAR = 48;            // of a task, and of what is multiplied at once
constexpr int64_t CHUNK = 320, POINTS = 16;
constexpr int64_t MEMORY = 1 << 23;  // bytes of transformed input at once
typedef __m256i Whole;
typedef long long __attribute__((may_alias, aligned(1))) Four;  // words of one row

// The words of four outputs, four inputs of each.
static Whole words(const int8_t* p) { return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i*)p)); }
static Whole words(const int16_t* p) { return _mm256_loadu_si256((const Whole*)p); }

// sums += products of neighbours, two by two. Left to itself the compiler adds later, and has no registers for so long.
static inline void add_products(Whole& sums, Whole v, Whole w) {
    Whole both;
    asm("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+x"(sums), "=&x"(both) : "x"(v), "x"(w));
}

// sums (R rows, PANEL apart, of STRIP) = rows of words x weights, `depth` fours of inputs, `apart` each; or are added to.
template <int R, class W>
static void multiply(const int16_t* const* rows, const W* weights, int64_t apart, int64_t depth, bool more, int32_t* sums) {
    Whole s[R][2] = {};
    for (int64_t d = 0; d < depth; d++) {
        const Whole first = words(weights + d * apart), second = words(weights + d * apart + 16);
#pragma GCC unroll 8
        for (int i = 0; i < R; i++) {
            const Whole v = _mm256_set1_epi64x(*(const Four*)(rows[i] + 4 * d));
            add_products(s[i][0], v, first);
            add_products(s[i][1], v, second);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < R; i++) {
        Whole* at = (Whole*)(sums + i * PANEL);
        const Whole own = _mm256_permute4x64_epi64(_mm256_hadd_epi32(s[i][0], s[i][1]), 0xd8);
        _mm256_storeu_si256(at, more ? _mm256_add_epi32(_mm256_loadu_si256(at), own) : own);
    }
}

static void store_words(int16_t* to, Whole v, int64_t n) {
    const __m128i words = _mm256_castsi256_si128(_mm256_permute4x64_epi64(_mm256_packs_epi32(v, v), 0xd8));
    if (n == WIDTH)
        _mm_storeu_si128((__m128i*)to, words);
    else
        memcpy(to, &words, n * 2);
}

// n numbers, and the high parts, where there are two planes, `apart` further.
template <class T>
static void round_to_words(const T* x, int16_t* to, int64_t n, int64_t planes, int64_t apart, float step, float zero) {
    const Vec over = set(1 / step), shift = set(zero), most = set(planes == 2 ? 65535 : 255);
    for (int64_t c = 0; c < n; c += WIDTH) {
        const int64_t k = least(WIDTH, n - c);
        const Vec u = smallest(largest(rounded(load(x + c, k) * over) + shift, set(0)), most);
        const Whole v = _mm256_cvttps_epi32(u - shift);
        store_words(to + c, planes == 2 ? _mm256_and_si256(v, _mm256_set1_epi32(255)) : v, k);
        if (planes == 2) store_words(to + apart + c, _mm256_srai_epi32(v, 8), k);
    }
}

// What comes in words, 0 around the pictures and behind their channels: (planes, batch, tall, broad, deep).
template <class T> struct Cells {
    const Bytes& a;
    int64_t tall, broad, deep = up(a.channels, 4), apart = a.batch * tall * broad * deep;
    int64_t units = a.alone ? a.batch * a.width : a.batch;
    Buffer<int16_t> words{size_t(a.planes * apart)};
    Buffer<float> steps{size_t(2 * units)};

    Cells(const Bytes& a, int64_t tall, int64_t broad) : a(a), tall(tall), broad(broad) {}

    void fill() const {
        const int64_t C = a.channels, picture = a.alone ? C : a.height * a.width * C;
        float *zeros = steps.data + units, most = a.planes == 2 ? 65535 : 255;
        auto told = [&](int64_t unit) {
            Range<T> range;
            range.see((const T*)a.x + unit * picture, picture);
            range.told(most, steps.data + unit, zeros + unit);
        };
        auto round = [&](const T* x, int16_t* to, int64_t count, int64_t unit) {
            const int64_t pieces = deep == C ? 1 : count, piece = count / pieces * C;
            for (int64_t i = 0; i < pieces; i++)
                round_to_words(x + i * C, to + i * deep, piece, a.planes, apart, steps.data[unit], zeros[unit]);
        };
        if (deep != C || !a.alone) memset(words.data, 0, a.planes * apart * sizeof(int16_t));
        if (a.alone)  // a row at a time is read once
            return parallel(a.pool, a.threads, (units + GROUP - 1) / GROUP, [&](int64_t i) {
                for (int64_t r = i * GROUP; r < least(units, (i + 1) * GROUP); r++)
                    told(r), round((const T*)a.x + r * C, words.data + r * deep, 1, r);
            });
        parallel(a.pool, a.threads, units, told);
        parallel(a.pool, a.threads, a.batch * a.height, [&](int64_t i) {
            const int64_t b = i / a.height, y = i % a.height + a.padding;
            round((const T*)a.x + i * a.width * C, words.data + ((b * tall + y) * broad + a.padding) * deep, a.width, b);
        });
    }

    // The answer at a cell for a panel's outputs from `n` on, of its sums, those of the planes `between` apart.
    void answer(int64_t b, int64_t cell, int64_t n, const int32_t* sums, int64_t between) const {
        const int64_t cells = a.high * a.wide, N = a.outputs;
        const Vec step = set(steps.data[a.alone ? cell : b]);
        for (int64_t j = n; j < least(n + PANEL, N); j += WIDTH) {
            auto of = [&](int64_t p) {
                return _mm256_cvtepi32_ps(_mm256_loadu_si256((const Whole*)(sums + p * between + j - n)));
            };
            const Vec sum = a.planes == 2 ? fma(of(1), set(256), of(0)) : of(0);
            const Vec y = fma(sum, step * load(a.scale + j), load(a.bias + j));
            store((T*)a.y + (b * cells + cell) * N + j, y, least(WIDTH, N - j));
        }
    }
};

template <class T> static int direct(const Bytes& a) {
    const Cells<T> in(a, a.height + 2 * a.padding, a.width + 2 * a.padding);
    if (!in.words.data || !in.steps.data) return 1;
    in.fill();
    const int64_t deep = in.deep, taps = a.kernel * a.kernel, cells = a.high * a.wide;
    const int64_t groups = (cells + GROUP - 1) / GROUP, panels = (a.outputs + PANEL - 1) / PANEL;
    parallel(a.pool, a.threads, panels * a.batch * groups, [&](int64_t task) {
        // All panels of a group of rows after each other, so that what they write lies together.
        const int64_t p = task % panels, b = task / panels / groups, from = task / panels % groups * GROUP, n = p * PANEL;
        const int64_t count = least(GROUP, cells - from), outputs = least(PANEL, a.outputs - n);
        alignas(64) int32_t held[2][GROUP * PANEL];
        for (int64_t i = 0; i < a.planes * taps; i++) {
            const int64_t plane = i % a.planes, tap = i / a.planes;
            const int16_t* cell = in.words.data + plane * in.apart + b * in.tall * in.broad * deep;
            const int16_t* rows[GROUP];
            for (int64_t r = 0; r < count; r++) {
                const int64_t y = (from + r) / a.wide * a.stride + tap / a.kernel;
                const int64_t x = (from + r) % a.wide * a.stride + tap % a.kernel;
                rows[r] = cell + (y * in.broad + x) * deep;
            }
            for (int64_t j = 0; j < outputs; j += STRIP)
                for (int64_t r = 0; r < count; r += ROWS)
                    columns<ROWS>(least(ROWS, count - r), [&](auto number) {
                        multiply<decltype(number)::value>(rows + r, a.weight + (p * taps + tap) * deep * PANEL + 4 * j,
                                                          4 * PANEL, deep / 4, tap > 0, held[plane] + r * PANEL + j);
                    });
        }
        for (int64_t r = 0; r < count; r++) in.answer(b, from + r, n, held[0] + r * PANEL, GROUP * PANEL);
    });
    return 0;
}

// B^T of four words along one axis, `s` apart.
static void enter(const Whole* x, int s, Whole* y) {
    y[0] = _mm256_sub_epi16(x[0], x[2 * s]);
    y[s] = _mm256_add_epi16(x[s], x[2 * s]);
    y[2 * s] = _mm256_sub_epi16(x[2 * s], x[s]);
    y[3 * s] = _mm256_sub_epi16(x[3 * s], x[s]);
}

// 2 G of three words, `s` apart, to four, `t` apart.
static void turn(const Whole* x, int s, Whole* y, int t) {
    const Whole ends = _mm256_add_epi16(x[0], x[2 * s]);
    y[0] = _mm256_add_epi16(x[0], x[0]);
    y[t] = _mm256_add_epi16(ends, x[s]);
    y[2 * t] = _mm256_sub_epi16(ends, x[s]);
    y[3 * t] = _mm256_add_epi16(x[2 * s], x[2 * s]);
}

// A^T of four sums, `s` apart, to two, `t` apart.
static void leave(const Whole* x, int s, Whole* y, int t) {
    y[0] = _mm256_add_epi32(_mm256_add_epi32(x[0], x[s]), x[2 * s]);
    y[t] = _mm256_add_epi32(_mm256_sub_epi32(x[s], x[2 * s]), x[3 * s]);
}

template <class T> static int winograd(const Bytes& a) {
    const int64_t down = (a.height + 1) / 2, across = (a.width + 1) / 2, tiles = a.batch * down * across;
    const Cells<T> in(a, 2 * down + 2, 2 * across + 2);
    const int64_t deep = in.deep, panels = (a.outputs + PANEL - 1) / PANEL;
    const int64_t fit = MEMORY / (POINTS * sizeof(int16_t) * deep) / TILES * TILES;
    const int64_t block = least(up(tiles, TILES), fit < TILES ? TILES : fit), row = up(deep, 16);
    const int64_t span = block * row + 32;  // of a point; apart from what the cache counts as one place
    Buffer<int16_t> entered(size_t(POINTS * span));
    if (!in.words.data || !in.steps.data || !entered.data) return 1;
    in.fill();
    auto input = [&](int64_t i, int64_t at) {
        const int64_t b = i / (down * across), y = i / across % down * 2, x = i % across * 2;
        const int16_t* cell = in.words.data + ((b * in.tall + y) * in.broad + x) * deep;
        for (int64_t c = 0; c < deep; c += 16) {
            Whole v[POINTS], e[POINTS];
            for (int p = 0; p < POINTS; p++)
                v[p] = words(cell + (p / 4 * in.broad + p % 4) * deep + c);  // beyond the channels is what nobody reads
            for (int k = 0; k < 4; k++) enter(v + 4 * k, 1, e + 4 * k);
            for (int k = 0; k < 4; k++) enter(e + k, 4, v + k);
            for (int p = 0; p < POINTS; p++) _mm256_storeu_si256((Whole*)(entered.data + p * span + at * row + c), v[p]);
        }
    };
    auto output = [&](int64_t first, int64_t from, int64_t panel) {
        static thread_local int16_t kernels[POINTS * CHUNK * PANEL];  // for each point, strip, four inputs
        static thread_local int32_t products[POINTS * NEAR * PANEL], sums[TILES * 4 * PANEL];
        const int64_t n = panel * PANEL, outputs = least(PANEL, a.outputs - n), count = least(TILES, tiles - first - from);
        for (int64_t c = 0; c < deep; c += CHUNK) {
            const int64_t depth = least(CHUNK, deep - c) / 4, strip = depth * 4 * STRIP;
            const int8_t* weight = a.weight + (panel * 9 * deep + c) * PANEL;
            for (int64_t d = 0; d < depth; d++)
                for (int64_t j = 0; j < up(outputs, STRIP); j += 4) {
                    const int8_t* from = weight + (d * PANEL + j) * 4;
                    int16_t* to = kernels + j / STRIP * strip + (d * STRIP + j % STRIP) * 4;
                    Whole w[9], e[12], u[POINTS];
                    for (int tap = 0; tap < 9; tap++) w[tap] = words(from + tap * deep * PANEL);
                    for (int k = 0; k < 3; k++) turn(w + 3 * k, 1, e + 4 * k, 1);
                    for (int k = 0; k < 4; k++) turn(e + k, 4, u + k, 4);
                    for (int p = 0; p < POINTS; p++) _mm256_storeu_si256((Whole*)(to + p * CHUNK * PANEL), u[p]);
                }
            for (int64_t near = 0; near < count; near += NEAR) {
                const int64_t here = least(NEAR, count - near);
                for (int64_t p = 0; p < POINTS; p++)
                    for (int64_t j = 0; j < outputs; j += STRIP)
                        for (int64_t r = 0; r < here; r += ROWS)
                            columns<ROWS>(least(ROWS, here - r), [&](auto number) {
                                constexpr int R = decltype(number)::value;
                                const int16_t* rows[R];
                                for (int k = 0; k < R; k++)
                                    rows[k] = entered.data + p * span + (from + near + r + k) * row + c;
                                multiply<R>(rows, kernels + p * CHUNK * PANEL + j / STRIP * strip, 4 * STRIP, depth, false,
                                            products + (p * NEAR + r) * PANEL + j);
                            });
                for (int64_t r = 0; r < here; r++)
                    for (int64_t j = 0; j < outputs; j += WIDTH) {
                        Whole m[POINTS], e[8], y[4];
                        for (int p = 0; p < POINTS; p++)
                            m[p] = _mm256_loadu_si256((const Whole*)(products + (p * NEAR + r) * PANEL + j));
                        for (int k = 0; k < 4; k++) leave(m + 4 * k, 1, e + 2 * k, 1);
                        for (int k = 0; k < 2; k++) leave(e + k, 2, y + k, 2);
                        for (int k = 0; k < 4; k++) {
                            Whole* at = (Whole*)(sums + ((near + r) * 4 + k) * PANEL + j);
                            const Whole own = _mm256_srai_epi32(y[k], 2);
                            _mm256_storeu_si256(at, c ? _mm256_add_epi32(_mm256_loadu_si256(at), own) : own);
                        }
                    }
            }
        }
        for (int64_t r = 0; r < count; r++) {
            const int64_t i = first + from + r, b = i / (down * across), y = i / across % down * 2, x = i % across * 2;
            for (int k = 0; k < 4; k++)
                if (y + k / 2 < a.height && x + k % 2 < a.width)
                    in.answer(b, (y + k / 2) * a.width + x + k % 2, n, sums + (r * 4 + k) * PANEL, 0);
        }
    };
    for (int64_t first = 0; first < tiles; first += block) {
        const int64_t rows = least(block, tiles - first), parts = (rows + TILES - 1) / TILES;
        parallel(a.pool, a.threads, rows, [&](int64_t at) { input(first + at, at); });
        parallel(a.pool, a.threads, parts * panels, [&](int64_t i) { output(first, i / panels * TILES, i % panels); });
    }
    return 0;
}

template <class T> static int layer(const Bytes& a) {
    const bool threes = a.kernel == 3 && a.stride == 1 && a.padding == 1 && a.planes == 1;
    return threes ? winograd<T>(a) : direct<T>(a);
}

EXPORT int multiply_bytes(const Bytes* a) { return a->singles ? layer<float>(*a) : layer<bf16>(*a); }
