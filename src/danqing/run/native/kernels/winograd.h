// Convolution by a 3 x 3 kernel, stride and padding 1, channels-last, as Lavin & Gray 2015 compute it:
//
//     y = A^T [(G g G^T) . (B^T d B)] A + bias
//
// for tiles of SIDE x SIDE outputs: (SIDE + 2)^2 products in place of 9 SIDE^2. The kernels are transformed once
// (native/convolution.py), or, if they come as they are (outputs, inputs, 3, 3) and a Way has turn(x, s, y, t) (G: three
// vectors, `s` apart, to SIDE + 2, `t` apart), at each call. They lie in the order in which they are read: of each group of TOGETHER outputs a matrix for each
// point, of each of these some PART inputs at a time, of these each PANEL of outputs as a matrix (inputs, PANEL), PAIR
// inputs beside each other. The order of every sum depends on the number of channels alone, so neither batch nor threads
// move a bit.
//
// A `Way` is a kind of product (product.h) that says in addition: SIDE, PART (input channels that are summed at once, near
// in the cache), TILES (of a task, a multiple of ROWS), part(k, x, n) (the k-th of each word's channels, of n neighbours) and
// join(x, parts, n) (all of them in their places again), enter(x, s, y) (B^T along one axis: SIDE + 2 vectors, `s` apart, to
// as many) and leave(x, s, y, t) (A^T: SIDE + 2 vectors, `s` apart, to SIDE, `t` apart).
#pragma once
#include "parallel.h"
#include "product.h"

// As native/convolution.py lays it out; bias may be null, and `added` to the answer once that is rounded: the numbers of a
// picture `added_picture` apart, those of a cell `added_cell`.
struct Convolution {
    const void *x, *kernels, *bias, *added;
    void* y;
    int64_t batch, height, width, inputs, outputs, added_picture, added_cell, turned;
    Pool pool;
    int64_t threads;
};

template <class Way> struct Winograd {
    typedef typename Way::Element Element;
    typedef typename Way::Word Word;
    static constexpr int SIDE = Way::SIDE, GRID = SIDE + 2, POINTS = GRID * GRID, PAIR = Way::PAIR, ROWS = Way::ROWS;
    static constexpr int COLUMNS = Way::COLUMNS, PANEL = COLUMNS * WIDTH;
    static constexpr int TILES = Way::TILES;           // tiles that one task multiplies,
    static constexpr int TOGETHER = 64;                // by the kernels of so many outputs: some panels
    static constexpr int64_t PART = Way::PART / PAIR;  // words
    static constexpr int64_t APART = PART * TOGETHER + 16;  // of points that are transformed here: no two at one place of the cache
    static constexpr int AHEAD = 1 << 17;  // bytes of kernels to fetch before they are read: few tiles wait for memory
    static constexpr int64_t MEMORY = 1 << 19;  // bytes of transformed input at once for each thread, to be read again

    const Convolution& a;
    int64_t across = (a.width + SIDE - 1) / SIDE, down = (a.height + SIDE - 1) / SIDE, tiles = a.batch * across * down;
    int64_t depth = up(a.inputs, WIDTH), groups = (a.outputs + TOGETHER - 1) / TOGETHER;
    int64_t words = (a.inputs + PAIR - 1) / PAIR, apart = depth / PAIR;  // of a row: that are summed, and that there are
    int64_t fit = MEMORY * a.threads / int64_t(POINTS * sizeof(Element) * depth) / TILES * TILES;
    int64_t block = least(up(tiles, TILES), fit < TILES ? TILES : fit);
    int64_t span = block * depth + 64 / int64_t(sizeof(Element));  // of a point; apart from what the cache counts as one place
    Buffer<Element> entered{size_t(POINTS * span)};

    explicit Winograd(const Convolution& a) : a(a) {}

    // B^T d B of the tile `i`, into row `row` of the matrices (block, depth); zeros beyond the last tile.
    void input(int64_t i, int64_t row) const {
        int64_t n = i / (across * down), top = i / across % down * SIDE - 1, left = i % across * SIDE - 1;
        static constexpr Element nothing[PAIR * WIDTH] = {};
        const Element* from[POINTS];
        int64_t step[POINTS];
        for (int64_t y = 0; y < GRID; y++)
            for (int64_t x = 0; x < GRID; x++) {
                int64_t at_y = top + y, at_x = left + x;
                bool in = i < tiles && at_y >= 0 && at_y < a.height && at_x >= 0 && at_x < a.width;
                from[y * GRID + x] = in ? (const Element*)a.x + ((n * a.height + at_y) * a.width + at_x) * a.inputs : nothing;
                step[y * GRID + x] = in;
            }
        for (int64_t c = 0; c < depth; c += PAIR * WIDTH) {
            const int64_t here = least(PAIR * WIDTH, a.inputs - c), room = least(PAIR * WIDTH, depth - c);
            Vec d[PAIR][POINTS], e[POINTS];
            for (int p = 0; p < POINTS; p++)
                for (int k = 0; k < PAIR; k++) d[k][p] = Way::part(k, from[p] + c * step[p], here);
            for (int k = 0; k < PAIR; k++) {
                for (int y = 0; y < GRID; y++) Way::enter(d[k] + y * GRID, 1, e + y * GRID);
                for (int x = 0; x < GRID; x++) Way::enter(e + x, GRID, d[k] + x);
            }
            for (int p = 0; p < POINTS; p++) {
                Vec parts[PAIR];
                for (int k = 0; k < PAIR; k++) parts[k] = d[k][p];
                Way::join(entered.data + p * span + row * depth + c, parts, room);
            }
        }
    }

    // The products at point `p` of R tiles, from the block's row `row` on, with N vectors of one panel's words `from` on.
    template <int R, int N, int AHEAD> void multiply_rows(float* products, const Word* kernels, int64_t row, int64_t p,
                                               int64_t from) const {
        Vec sums[R][N] = {};
        multiply<Way, N, AHEAD>((const Word*)(entered.data + p * span + row * depth) + from, apart, kernels, PANEL,
                         least(PART, words - from), sums);
        for (int i = 0; i < R; i++)
            for (int j = 0; j < N; j++) {
                float* at = products + (p * TILES + i) * TOGETHER + j * WIDTH;
                store(at, from ? load(at) + sums[i][j] : sums[i][j]);
            }
    }

    // G g G^T of `part` inputs and `outputs` outputs, as they lie: (outputs, inputs, 3, 3).
    void turn(float* to, int64_t output, int64_t outputs, int64_t input, int64_t part) const {
        static thread_local float near[TOGETHER * PART * 9];  // where outputs lie, many share a place of the cache
        for (int64_t o = 0; o < outputs; o++)
            memcpy(near + o * PART * 9, (const float*)a.kernels + ((output + o) * a.inputs + input) * 9, part * 36);
        for (int64_t k = 0; k < part; k++) {
            float taps[9][TOGETHER] = {};
            for (int64_t o = 0; o < outputs; o++)
                for (int t = 0; t < 9; t++) taps[t][o] = near[(o * PART + k) * 9 + t];
            for (int64_t o = 0; o < outputs; o += WIDTH) {
                Vec g[9], e[3 * GRID], u[POINTS];
                for (int t = 0; t < 9; t++) g[t] = load(taps[t] + o);
                for (int y = 0; y < 3; y++) Way::turn(g + 3 * y, 1, e + GRID * y, 1);
                for (int x = 0; x < GRID; x++) Way::turn(e + x, GRID, u + x, GRID);
                float* at = to + o / PANEL * PANEL * part + k * PANEL + o % PANEL;
                for (int p = 0; p < POINTS; p++) store(at + p * APART, u[p]);
            }
        }
    }

    // The products of TILES tiles with the kernels of one group, and their outputs. `first` is the tile of the block's
    // row 0.
    void output(int64_t first, int64_t row, int64_t group) const {
        static thread_local float products[POINTS * TILES * TOGETHER];
        const int64_t outputs = least(TOGETHER, a.outputs - group * TOGETHER), count = least(TILES, tiles - first - row);
        auto point = [&](const Word* kernels, int64_t p, int64_t from) {
            for (int64_t c = 0; c < outputs; c += PANEL, kernels += least(PART, words - from) * PANEL)
                columns<COLUMNS>((least(PANEL, outputs - c) + WIDTH - 1) / WIDTH, [&](auto vectors) {
                    for (int64_t r = 0; r < count; r += ROWS)
                        columns<ROWS>(least(ROWS, count - r), [&](auto rows) {
                            constexpr int R = decltype(rows)::value, N = decltype(vectors)::value;
                            float* to = products + r * TOGETHER + c;
                            if (r == 0)
                                multiply_rows<R, N, AHEAD>(to, kernels, row, p, from);
                            else
                                multiply_rows<R, N, 0>(to, kernels, row + r, p, from);
                        });
                });
        };
        if (a.turned) {
            const Word* kernels = (const Word*)a.kernels + group * POINTS * words * TOGETHER;
            for (int64_t p = 0; p < POINTS; p++)
                for (int64_t from = 0; from < words; from += PART)
                    point(kernels + (p * words + from) * TOGETHER, p, from);
        } else if constexpr (Way::TURNS) {
            static thread_local float kernels[POINTS * APART];
            for (int64_t from = 0; from < words; from += PART) {
                const int64_t part = least(PART, words - from);
                turn(kernels, group * TOGETHER, outputs, from, part);
                for (int64_t p = 0; p < POINTS; p++) point(kernels + p * APART, p, from);
            }
        }
        for (int64_t r = 0; r < count; r++) {
            int64_t i = first + row + r, n = i / (across * down), top = i / across % down * SIDE;
            int64_t left = i % across * SIDE;
            for (int64_t c = 0; c < outputs; c += WIDTH) {
                int64_t here = least(WIDTH, outputs - c), channel = group * TOGETHER + c;
                Vec d[POINTS], e[GRID * SIDE];
                for (int p = 0; p < POINTS; p++) d[p] = load(products + (p * TILES + r) * TOGETHER + c);
                for (int y = 0; y < GRID; y++) Way::leave(d + y * GRID, 1, e + y * SIDE, 1);
                for (int x = 0; x < SIDE; x++) Way::leave(e + x, SIDE, d + x, SIDE);
                const Vec bias = a.bias ? load((const Element*)a.bias + channel, here) : set(0);
                for (int64_t y = 0; y < least(SIDE, a.height - top); y++)
                    for (int64_t x = 0; x < least(SIDE, a.width - left); x++) {
                        const int64_t cell = (top + y) * a.width + left + x;
                        Vec v = d[y * SIDE + x] + bias;
                        if (a.added)
                            v = once(v, Element()) + load((const Element*)a.added + n * a.added_picture +
                                                          cell * a.added_cell + channel, here);
                        store((Element*)a.y + (n * a.height * a.width + cell) * a.outputs + channel, v, here);
                    }
            }
        }
    }

    int run() const {
        if (!entered.data) return 1;
        for (int64_t first = 0; first < tiles; first += block) {
            int64_t rows = least(block, tiles - first), parts = (rows + TILES - 1) / TILES;
            parallel(a.pool, a.threads, rows, [&](int64_t row) { input(first + row, row); });
            parallel(a.pool, a.threads, groups * parts,
                     [&](int64_t i) { output(first, i % parts * TILES, i / parts); });
        }
        return 0;
    }
};
