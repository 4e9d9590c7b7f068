// Convolution in bf16 as it is written, channels-last, for the few that Winograd's algorithm does not compute in small networks:
// of strides, of few outputs. Summed in fp32, tap by tap, each in the order of the inputs, so neither batch nor threads move
// a bit.
//
// The weight lies as panels (native/direct.py): of each PANEL outputs a matrix (taps, inputs / 2, PANEL) of pairs of inputs.
#include "answer.h"
#include "parallel.h"

// As native/direct.py lays it out; bias may be null. The kernel has `side` x `side` taps, the answer `high` x `broad` cells.
struct Direct {
    const void *x, *panels, *bias;
    void* y;
    int64_t batch, height, width, inputs, outputs, side, stride, padding, high, broad;
    Pool pool;
    int64_t threads;
};

constexpr int PANEL = Halves::COLUMNS * WIDTH, TOGETHER = 8 * Halves::ROWS;  // outputs and cells of a task

// What a tap of cell `cell` reads; `outside` beyond the picture.
static const Halves::Word* seen(const Direct& a, int64_t cell, int64_t tap, const bf16* outside) {
    const int64_t n = cell / (a.high * a.broad), at = cell % (a.high * a.broad);
    const int64_t y = at / a.broad * a.stride + tap / a.side - a.padding;
    const int64_t x = at % a.broad * a.stride + tap % a.side - a.padding;
    const bool in = y >= 0 && y < a.height && x >= 0 && x < a.width;
    return (const Halves::Word*)(in ? (const bf16*)a.x + ((n * a.height + y) * a.width + x) * a.inputs : outside);
}

EXPORT int direct(const Direct* a) {
    const int64_t words = a->inputs / 2, taps = a->side * a->side, cells = a->batch * a->high * a->broad;
    const int64_t groups = (cells + TOGETHER - 1) / TOGETHER, panels = (a->outputs + PANEL - 1) / PANEL;
    Buffer<bf16> outside(a->inputs);
    if (!outside.data) return 1;
    memset(outside.data, 0, a->inputs * sizeof(bf16));
    const Answer<bf16> answer{(const bf16*)a->bias, nullptr, (bf16*)a->y, a->outputs};
    parallel(a->pool, a->threads, groups * panels, [&](int64_t i) {
        const int64_t first = i % groups * TOGETHER, last = least(cells, first + TOGETHER), o = i / groups * PANEL;
        const int64_t outputs = least(PANEL, a->outputs - o);
        columns<Halves::COLUMNS>((outputs + WIDTH - 1) / WIDTH, [&](auto vectors) {
            constexpr int N = decltype(vectors)::value;
            for (int64_t r = first; r < last; r += Halves::ROWS)
                columns<Halves::ROWS>(least(Halves::ROWS, last - r), [&](auto rows) {
                    constexpr int R = decltype(rows)::value;
                    Vec sums[R][N] = {};
                    answer.fetch<R>(r, o, outputs);
                    auto panel = (const Halves::Word*)a->panels + o * taps * words;
                    for (int64_t tap = 0; tap < taps; tap++) {
                        const Halves::Word* from[R];
                        for (int k = 0; k < R; k++) from[k] = seen(*a, r + k, tap, outside.data);
                        for (int64_t d = 0; d < words; d++, panel += PANEL) {
                            Halves::Words w[N];
                            for (int j = 0; j < N; j++) w[j] = Halves::words(panel + j * WIDTH);
                            for (int k = 0; k < R; k++)
                                for (int j = 0; j < N; j++) sums[k][j] = Halves::dot(sums[k][j], from[k][d], w[j]);
                        }
                    }
                    answer.write(sums, r, o, outputs);
                });
        });
    });
    return 0;
}
