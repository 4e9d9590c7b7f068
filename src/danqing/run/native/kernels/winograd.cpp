// Convolution by a 3 x 3 kernel in fp32, stride and padding 1, channels-last: F(4 x 4, 3 x 3) of Lavin & Gray 2015,
//
//     y = A^T [(G g G^T) . (B^T d B)] A + bias
//
// for tiles of 4 x 4 outputs: 36 products in place of 144. The kernels are transformed once (native/convolution.py), and
// lie in the order in which they are read: of each group of TOGETHER outputs 36 matrices, of each of these some PART
// inputs at a time, of these each PANEL of outputs as a matrix (inputs, PANEL). The order of every sum depends on the
// number of channels alone, so neither batch nor threads move a bit.
#include "parallel.h"
#include "product.h"

constexpr int ROWS = Singles::ROWS, COLUMNS = Singles::COLUMNS, PANEL = COLUMNS * WIDTH;
constexpr int TILES = 8 * ROWS;        // tiles that one task multiplies,
constexpr int TOGETHER = 64;           // by the kernels of so many outputs: some panels
constexpr int64_t PART = 64;          // input channels that are summed at once: near in the cache, and more exact
constexpr int64_t MEMORY = 1 << 20;    // bytes of transformed input at once for each thread, to be read again from a cache

// As native/convolution.py lays it out; bias may be null.
struct Convolution {
    const float *x, *kernels, *bias;
    float* y;
    int64_t batch, height, width, inputs, outputs;
    Pool pool;
    int64_t threads;
};

// The kernels are polynomials that are multiplied at 0, +-A, +-B and infinity. With A = 1/sqrt(2) and B = sqrt(2) the
// matrices hold no large numbers, and the answer is about four times as exact as with the usual 1 and 2.
constexpr float A = 0.70710678f, B = 1.41421356f, AA = 0.5f, BB = 2, SUM = AA + BB;

// B^T along one axis: 6 vectors, `s` apart, to 6.
static inline void enter(const Vec* x, int s, Vec* y) {
    Vec p = x[4 * s] - set(BB) * x[2 * s], q = set(A) * (x[3 * s] - set(BB) * x[s]);
    Vec r = x[4 * s] - set(AA) * x[2 * s], t = set(B) * (x[3 * s] - set(AA) * x[s]);
    y[0] = x[0] + x[4 * s] - set(SUM) * x[2 * s];
    y[s] = p + q;
    y[2 * s] = p - q;
    y[3 * s] = r + t;
    y[4 * s] = r - t;
    y[5 * s] = x[s] + x[5 * s] - set(SUM) * x[3 * s];
}

// A^T along one axis: 6 vectors, `s` apart, to 4, `t` apart.
static inline void leave(const Vec* x, int s, Vec* y, int t) {
    Vec a = x[s] + x[2 * s], b = set(A) * (x[s] - x[2 * s]), c = x[3 * s] + x[4 * s], d = set(B) * (x[3 * s] - x[4 * s]);
    y[0] = x[0] + a + c;
    y[t] = b + d;
    y[2 * t] = set(AA) * a + set(BB) * c;
    y[3 * t] = set(AA) * b + set(BB) * d + x[5 * s];
}

struct Winograd {
    const Convolution& a;
    int64_t across = (a.width + 3) / 4, down = (a.height + 3) / 4, tiles = a.batch * across * down;
    int64_t depth = up(a.inputs, WIDTH), groups = (a.outputs + TOGETHER - 1) / TOGETHER;
    int64_t fit = MEMORY * a.threads / (36 * 4 * depth) / TILES * TILES;
    int64_t block = least(up(tiles, TILES), fit < TILES ? TILES : fit);
    Buffer<float> entered{size_t(36 * block * depth)};

    explicit Winograd(const Convolution& a) : a(a) {}

    // B^T d B of the tile `i`, into row `row` of the 36 matrices (block, depth); zeros beyond the last tile.
    void input(int64_t i, int64_t row) const {
        int64_t n = i / (across * down), top = i / across % down * 4 - 1, left = i % across * 4 - 1;
        for (int64_t c = 0; c < depth; c += WIDTH) {
            Vec d[36], e[36];
            for (int64_t y = 0; y < 6; y++)
                for (int64_t x = 0; x < 6; x++) {
                    int64_t at_y = top + y, at_x = left + x;
                    bool in = i < tiles && at_y >= 0 && at_y < a.height && at_x >= 0 && at_x < a.width;
                    d[y * 6 + x] = in ? load(a.x + ((n * a.height + at_y) * a.width + at_x) * a.inputs + c,
                                             least(WIDTH, a.inputs - c))
                                      : set(0);
                }
            for (int y = 0; y < 6; y++) enter(d + y * 6, 1, e + y * 6);
            for (int x = 0; x < 6; x++) enter(e + x, 6, d + x);
            for (int p = 0; p < 36; p++) store(entered.data + (p * block + row) * depth + c, d[p]);
        }
    }

    // The products at point `p` of `count` tiles, from the block's row `row` on, with one panel's inputs `from` on.
    template <int N> void multiply_panel(float* products, const float* kernels, int64_t row, int64_t count, int64_t p,
                                         int64_t from) const {
        for (int64_t r = 0; r < count; r += ROWS) {
            Vec sums[ROWS][N] = {};
            multiply<Singles, N>(entered.data + (p * block + row + r) * depth + from, depth,
                                 kernels, PANEL, least(PART, a.inputs - from), sums);
            for (int i = 0; i < ROWS; i++)
                for (int j = 0; j < N; j++) {
                    float* at = products + (p * TILES + r + i) * TOGETHER + j * WIDTH;
                    store(at, from ? load(at) + sums[i][j] : sums[i][j]);
                }
        }
    }

    // The products of TILES tiles with the kernels of one group, and their outputs. `first` is the tile of the block's
    // row 0.
    void output(int64_t first, int64_t row, int64_t group) const {
        static thread_local float products[36 * TILES * TOGETHER];
        const int64_t outputs = least(TOGETHER, a.outputs - group * TOGETHER), count = least(TILES, tiles - first - row);
        const float* kernels = a.kernels + group * 36 * a.inputs * TOGETHER;
        for (int64_t p = 0; p < 36; p++)
            for (int64_t from = 0; from < a.inputs; from += PART)
                for (int64_t c = 0; c < TOGETHER; c += PANEL, kernels += least(PART, a.inputs - from) * PANEL)
                    if (c < outputs)
                        columns<COLUMNS>((least(PANEL, outputs - c) + WIDTH - 1) / WIDTH, [&](auto vectors) {
                            multiply_panel<decltype(vectors)::value>(products + c, kernels, row, count, p, from);
                        });
        for (int64_t r = 0; r < count; r++) {
            int64_t i = first + row + r, n = i / (across * down), top = i / across % down * 4, left = i % across * 4;
            for (int64_t c = 0; c < outputs; c += WIDTH) {
                int64_t here = least(WIDTH, outputs - c), channel = group * TOGETHER + c;
                Vec d[36], e[24];
                for (int p = 0; p < 36; p++) d[p] = load(products + (p * TILES + r) * TOGETHER + c);
                for (int y = 0; y < 6; y++) leave(d + y * 6, 1, e + y * 4, 1);
                for (int x = 0; x < 4; x++) leave(e + x, 4, d + x, 4);
                const Vec bias = a.bias ? load(a.bias + channel, here) : set(0);
                for (int64_t y = 0; y < least(4, a.height - top); y++)
                    for (int64_t x = 0; x < least(4, a.width - left); x++)
                        store(a.y + ((n * a.height + top + y) * a.width + left + x) * a.outputs + channel,
                              d[y * 4 + x] + bias, here);
            }
        }
    }

    int run() const {
        if (!entered.data) return 1;
        for (int64_t first = 0; first < tiles; first += block) {
            int64_t rows = least(block, up(tiles - first, ROWS)), parts = (rows + TILES - 1) / TILES;
            parallel(a.pool, a.threads, rows, [&](int64_t row) { input(first + row, row); });
            parallel(a.pool, a.threads, groups * parts,
                     [&](int64_t i) { output(first, i % parts * TILES, i / parts); });
        }
        return 0;
    }
};

EXPORT int panel() { return PANEL; }
EXPORT int convolution(const Convolution* a) { return Winograd(*a).run(); }
