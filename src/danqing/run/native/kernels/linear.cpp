// A linear layer in bf16, y = x W^T + bias, summed in fp32, for weights that stay near in the cache: each row's sum is in the
// order of the inputs, so neither the number of rows nor threads move a bit. What is added to it is added once it is rounded,
// as after a layer by itself.
//
// The weight lies as panels (native/linear.py): of each PANEL outputs a matrix (inputs / 2, PANEL) of pairs of inputs.
#include "answer.h"
#include "parallel.h"

// As native/linear.py lays it out; bias may be null, and `added` to the answer.
struct Linear {
    const void *x, *panels, *bias, *added;
    void* y;
    int64_t rows, inputs, outputs;
    Pool pool;
    int64_t threads;
};

constexpr int PANEL = Halves::COLUMNS * WIDTH, TOGETHER = 8 * Halves::ROWS;  // outputs and rows of a task

EXPORT int linear(const Linear* a) {
    const int64_t words = a->inputs / 2, panels = (a->outputs + PANEL - 1) / PANEL;
    const int64_t groups = (a->rows + TOGETHER - 1) / TOGETHER;
    const Answer answer{(const bf16*)a->bias, (const bf16*)a->added, (bf16*)a->y, a->outputs};
    parallel(a->pool, a->threads, groups * panels, [&](int64_t i) {
        const int64_t first = i % groups * TOGETHER, last = least(a->rows, first + TOGETHER), o = i / groups * PANEL;
        const int64_t outputs = least(PANEL, a->outputs - o);
        auto panel = (const Halves::Word*)a->panels + o * words;
        columns<Halves::COLUMNS>((outputs + WIDTH - 1) / WIDTH, [&](auto vectors) {
            constexpr int N = decltype(vectors)::value;
            for (int64_t r = first; r < last; r += Halves::ROWS)
                columns<Halves::ROWS>(least(Halves::ROWS, last - r), [&](auto rows) {
                    constexpr int R = decltype(rows)::value;
                    Vec sums[R][N] = {};
                    answer.fetch<R>(r, o, outputs);
                    multiply<Halves, N>((const Halves::Word*)a->x + r * words, words, panel, PANEL, words, sums);
                    answer.write(sums, r, o, outputs);
                });
        });
    });
    return 0;
}
