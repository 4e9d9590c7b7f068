// Attention block by block (FlashAttention, Dao et al. 2022):
//
//     o_i = sum_j exp(s_ij) v_j / sum_j exp(s_ij),    s_ij = scale q_i . k_j + bias_ij
//
// with running maximum and sum in fp32. Keys and values are packed once. Each task is a block of queries of one head; the
// order of every sum depends on the number of keys and the head's size alone, so neither batch nor threads move a bit.
//
// A `Kind` of product.h and attention.h says in addition: KEYS (of a block, a multiple of a panel), and join(rows, d) (a
// word of PAIR rows).
#pragma once
#include "attention.h"

template <class Kind> struct Flash {
    typedef typename Kind::Element Element;
    typedef typename Kind::Word Word;
    static constexpr int PAIR = Kind::PAIR, ROWS = Kind::ROWS, COLUMNS = Kind::COLUMNS;
    static constexpr int PANEL = COLUMNS * WIDTH;      // keys that are packed beside each other
    static constexpr int QUERIES = 8 * ROWS, KEYS = Kind::KEYS;  // of a block; KEYS is a multiple of PANEL
    static constexpr int MOST = 512;                   // the largest head
    static constexpr int STEP = PAIR * WIDTH;          // keys are padded to this

    // A row of elements as words, or zeros where there is none; the last word may be half full.
    void copy(Word* to, const Element* row) const {
        to[depth - 1] = 0;
        if (row) memcpy((void*)to, row, a.size * sizeof(Element));
        else memset((void*)to, 0, depth * sizeof(Word));
    }

    const Attention& a;
    int64_t depth = up(a.size, PAIR) / PAIR, width = up(a.size, WIDTH), keys = up(a.keys, STEP);
    int64_t blocks = (a.queries + QUERIES - 1) / QUERIES, panels = (keys + PANEL - 1) / PANEL;
    int64_t k_size = panels * PANEL * depth, v_size = keys / PAIR * width;
    Buffer<Word> k_words{size_t(a.batch * a.heads * k_size)}, v_words{size_t(a.batch * a.heads * v_size)};

    explicit Flash(const Attention& a) : a(a) {}

    void pack_keys(int64_t head, int64_t panel) const {
        auto k = (const Element*)a.k + head / a.heads * a.k_batch + head % a.heads * a.k_head;
        Word* to = k_words.data + head * k_size + panel * PANEL * depth;
        Word words[MOST];
        for (int64_t n = 0; n < PANEL; n++) {
            int64_t key = panel * PANEL + n;
            copy(words, key < a.keys ? k + key * a.k_row : nullptr);
            for (int64_t d = 0; d < depth; d++) to[d * PANEL + n] = words[d];
        }
    }

    void pack_values(int64_t head, int64_t panel) const {
        auto v = (const Element*)a.v + head / a.heads * a.v_batch + head % a.heads * a.v_head;
        int64_t end = least(keys, (panel + 1) * PANEL);
        static const Element nothing[MOST] = {};
        for (int64_t n = panel * PANEL; n < end; n += PAIR) {
            Word* to = v_words.data + head * v_size + n / PAIR * width;
            const Element* rows[PAIR];
            for (int p = 0; p < PAIR; p++) rows[p] = n + p < a.keys ? v + (n + p) * a.v_row : nothing;
            for (int64_t d = 0; d < a.size; d++) to[d] = Kind::join(rows, d);
            for (int64_t d = a.size; d < width; d++) to[d] = 0;
        }
    }

    struct Scratch {
        alignas(64) float scores[ROWS * KEYS];
        alignas(64) Word weights[ROWS * KEYS / PAIR];
        alignas(64) Word q[QUERIES * MOST / PAIR];
        alignas(64) float o[QUERIES * MOST];
        float top[QUERIES], sum[QUERIES], shrink[ROWS];
    };

    void attend(int64_t task) const {
        static thread_local Scratch s;
        int64_t head = task / blocks, b = head / a.heads, h = head % a.heads, start = task % blocks * QUERIES;
        int64_t rows = least(QUERIES, a.queries - start);
        auto q = (const Element*)a.q + b * a.q_batch + h * a.q_head + start * a.q_row;
        auto o = (Element*)a.o + b * a.o_batch + h * a.o_head + start * a.o_row;
        for (int64_t i = 0; i < up(rows, ROWS); i++) {
            copy(s.q + i * depth, i < rows ? q + i * a.q_row : nullptr);
            s.top[i] = LOWEST;
            s.sum[i] = 0;
        }
        memset(s.o, 0, up(rows, ROWS) * width * sizeof(float));
        for (int64_t from = 0; from < keys; from += KEYS) {
            int64_t real = least(KEYS, a.keys - from), padded = up(real, STEP);
            for (int64_t i = 0; i < rows; i += ROWS) {
                for (int64_t n = 0; n < padded; n += PANEL) {
                    const Word* k = k_words.data + head * k_size + (from + n) * depth;
                    columns<COLUMNS>(least(PANEL, padded - n) / WIDTH, [&](auto count) {
                        constexpr int N = decltype(count)::value;
                        Vec sums[ROWS][N] = {};
                        multiply<Kind, N>(s.q + i * depth, depth, k, PANEL, depth, sums);
                        for (int r = 0; r < ROWS; r++)
                            for (int j = 0; j < N; j++) store(s.scores + r * KEYS + n + j * WIDTH, sums[r][j]);
                    });
                }
                const float* bias = a.bias;
                if (bias) bias += b * a.bias_batch + h * a.bias_head + (start + i) * a.bias_row + from;
                softmax<Kind>(a, s.scores, s.weights, KEYS, ROWS, rows - i, real, bias, s.top + i, s.sum + i, s.shrink);
                int64_t vectors = width / WIDTH, chunks = (vectors + COLUMNS - 1) / COLUMNS, done = 0;
                for (int64_t c = 0; c < chunks; c++) {
                    int64_t n = (vectors - done + chunks - c - 1) / (chunks - c);
                    float* to = s.o + i * width + done * WIDTH;
                    const Word* v = v_words.data + head * v_size + from / PAIR * width + done * WIDTH;
                    columns<COLUMNS>(n, [&](auto count) {
                        constexpr int N = decltype(count)::value;
                        Vec sums[ROWS][N] = {};  // of this block, and then added: fewer numbers in a row are more exact
                        multiply<Kind, N>(s.weights, KEYS / PAIR, v, width, padded / PAIR, sums);
                        for (int r = 0; r < ROWS; r++)
                            for (int j = 0; j < N; j++) {
                                float* at = to + r * width + j * WIDTH;
                                store(at, fma(load(at), set(s.shrink[r]), sums[r][j]));
                            }
                    });
                    done += n;
                }
            }
        }
        for (int64_t i = 0; i < rows; i++) divide(o + i * a.o_row, s.o + i * width, a.size, s.sum[i]);
    }

    int run() const {
        if (!k_words.data || !v_words.data) return 1;
        parallel(a.pool, a.threads, a.batch * a.heads * panels, [&](int64_t i) {
            pack_keys(i / panels, i % panels);
            pack_values(i / panels, i % panels);
        });
        parallel(a.pool, a.threads, a.batch * a.heads * blocks, [&](int64_t i) { attend(i); });
        return 0;
    }
};
