// Attention in bf16 with AMX: tiles of 16 x 16 sums of 16 pairs; see flash.h for what is computed.
#include <sys/syscall.h>
#include <unistd.h>

#include "attention.h"

struct Pairs {
    typedef uint32_t Word;
    static constexpr int PAIR = 2;
    static Vec power(Vec x) { return exp2_coarse(x); }
    static void pack(Word* to, const Vec (&x)[2]) { _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh(x[1], x[0])); }
};

typedef uint32_t Word;  // two neighbours
constexpr int TILE = 16, WORDS = TILE * TILE;           // words of a tile, of sums too
constexpr int QUERIES = 2 * TILE, KEYS = 256, STEP = 2 * TILE, MOST = 512;

struct Tiles {
    struct __attribute__((packed)) Shape {
        uint8_t palette = 1, start = 0, rest[14] = {};
        uint16_t bytes[16] = {};
        uint8_t rows[16] = {};
    };

    const Attention& a;
    int64_t deep = up(a.size, 32) / 32, wide = up(a.size, TILE) / TILE, keys = up(a.keys, STEP);
    int64_t blocks = (a.queries + QUERIES - 1) / QUERIES, steps = keys / STEP;
    int64_t k_size = keys / TILE * deep * WORDS, v_size = steps * wide * WORDS;
    Buffer<Word> k_tiles{size_t(a.batch * a.heads * k_size)}, v_tiles{size_t(a.batch * a.heads * v_size)};

    explicit Tiles(const Attention& a) : a(a) {}

    // STEP keys: of 16 keys `deep` tiles of 16 pairs by 16 keys.
    void pack_keys(int64_t head, int64_t step) const {
        auto k = (const bf16*)a.k + head / a.heads * a.k_batch + head % a.heads * a.k_head;
        Word* to = k_tiles.data + head * k_size + step * 2 * deep * WORDS;
        for (int64_t n = 0; n < STEP; n++) {
            Word row[MOST / 2] = {};
            int64_t key = step * STEP + n;
            if (key < a.keys) memcpy((void*)row, k + key * a.k_row, a.size * sizeof(bf16));
            for (int64_t d = 0; d < deep * TILE; d++)
                to[(n / TILE * deep + d / TILE) * WORDS + d % TILE * TILE + n % TILE] = row[d];
        }
    }

    // STEP values: `wide` tiles of 16 pairs of values by 16 numbers of a head.
    void pack_values(int64_t head, int64_t step) const {
        auto v = (const bf16*)a.v + head / a.heads * a.v_batch + head % a.heads * a.v_head;
        Word* to = v_tiles.data + head * v_size + step * wide * WORDS;
        for (int64_t pair = 0; pair < TILE; pair++) {
            bf16 rows[2][MOST] = {};
            for (int p = 0; p < 2; p++) {
                int64_t key = step * STEP + 2 * pair + p;
                if (key < a.keys) memcpy(rows[p], v + key * a.v_row, a.size * sizeof(bf16));
            }
            for (int64_t d = 0; d < wide * TILE; d++)
                to[d / TILE * WORDS + pair * TILE + d % TILE] = rows[0][d] | Word(rows[1][d]) << 16;
        }
    }

    struct Scratch {
        alignas(64) float scores[QUERIES * KEYS];
        alignas(64) Word weights[QUERIES * KEYS / 2];
        alignas(64) Word q[QUERIES * MOST / 2];
        alignas(64) float o[QUERIES * MOST];
        float top[QUERIES], sum[QUERIES], shrink[QUERIES];
    };

    // Tiles 0 to 3 are sums, 32 rows by 32 columns; 4 and 5 the rows' factors, 6 and 7 the columns'.
    void score(Scratch& s, const Word* k, int64_t n) const {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        for (int64_t d = 0; d < deep; d++) {
            _tile_loadd(4, s.q + d * TILE, deep * 64);
            _tile_loadd(5, s.q + (TILE * deep + d) * TILE, deep * 64);
            _tile_loadd(6, k + d * WORDS, 64);
            _tile_loadd(7, k + (deep + d) * WORDS, 64);
            _tile_dpbf16ps(0, 4, 6);
            _tile_dpbf16ps(1, 4, 7);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
        _tile_stored(0, s.scores + n, KEYS * 4);
        _tile_stored(1, s.scores + n + TILE, KEYS * 4);
        _tile_stored(2, s.scores + TILE * KEYS + n, KEYS * 4);
        _tile_stored(3, s.scores + TILE * KEYS + n + TILE, KEYS * 4);
    }

    // Adds the weighted values of `padded` keys to 16 or, if `two`, 32 columns of the answer.
    template <bool two> void add(Scratch& s, const Word* v, int64_t column, int64_t padded) const {
        const int64_t stride = wide * 64;
        float *above = s.o + column * TILE, *below = above + TILE * wide * TILE;
        _tile_loadd(0, above, stride);
        _tile_loadd(2, below, stride);
        if (two) _tile_loadd(1, above + TILE, stride);
        if (two) _tile_loadd(3, below + TILE, stride);
        for (int64_t n = 0; n < padded; n += STEP) {
            const Word* tile = v + (n / STEP * wide + column) * WORDS;
            _tile_loadd(4, s.weights + n / 2, KEYS * 2);
            _tile_loadd(5, s.weights + (TILE * KEYS + n) / 2, KEYS * 2);
            _tile_loadd(6, tile, 64);
            _tile_dpbf16ps(0, 4, 6);
            _tile_dpbf16ps(2, 5, 6);
            if (two) _tile_loadd(7, tile + WORDS, 64);
            if (two) _tile_dpbf16ps(1, 4, 7);
            if (two) _tile_dpbf16ps(3, 5, 7);
        }
        _tile_stored(0, above, stride);
        _tile_stored(2, below, stride);
        if (two) _tile_stored(1, above + TILE, stride);
        if (two) _tile_stored(3, below + TILE, stride);
    }

    void attend(int64_t task) const {
        static thread_local Scratch s;
        Shape shape;
        for (int i = 0; i < 8; i++) shape.bytes[i] = 64, shape.rows[i] = TILE;
        _tile_loadconfig(&shape);
        int64_t head = task / blocks, b = head / a.heads, h = head % a.heads, start = task % blocks * QUERIES;
        int64_t rows = least(QUERIES, a.queries - start), width = wide * TILE;
        auto q = (const bf16*)a.q + b * a.q_batch + h * a.q_head + start * a.q_row;
        auto o = (bf16*)a.o + b * a.o_batch + h * a.o_head + start * a.o_row;
        memset(s.q, 0, QUERIES * deep * TILE * sizeof(Word));
        memset(s.o, 0, QUERIES * width * sizeof(float));
        for (int64_t i = 0; i < QUERIES; i++) {
            if (i < rows) memcpy((void*)(s.q + i * deep * TILE), q + i * a.q_row, a.size * sizeof(bf16));
            s.top[i] = LOWEST;
            s.sum[i] = 0;
        }
        for (int64_t from = 0; from < keys; from += KEYS) {
            int64_t real = least(KEYS, a.keys - from), padded = up(real, STEP);
            for (int64_t n = 0; n < padded; n += STEP)
                score(s, k_tiles.data + head * k_size + (from + n) / TILE * deep * WORDS, n);
            const float* bias = a.bias;
            if (bias) bias += b * a.bias_batch + h * a.bias_head + start * a.bias_row + from;
            softmax<Pairs>(a, s.scores, s.weights, KEYS, QUERIES, rows, real, bias, s.top, s.sum, s.shrink);
            for (int64_t i = 0; i < QUERIES; i++)
                if (s.shrink[i] != 1)
                    for (int64_t d = 0; d < width; d += WIDTH)
                        store(s.o + i * width + d, load(s.o + i * width + d) * set(s.shrink[i]));
            const Word* v = v_tiles.data + head * v_size + from / STEP * wide * WORDS;
            for (int64_t c = 0; c + 1 < wide; c += 2) add<true>(s, v, c, padded);
            if (wide % 2) add<false>(s, v, wide - 1, padded);
        }
        for (int64_t i = 0; i < rows; i++) divide(o + i * a.o_row, s.o + i * width, a.size, s.sum[i]);
        _tile_release();
    }

    int run() const {
        if (!k_tiles.data || !v_tiles.data) return 1;
        parallel(a.pool, a.threads, a.batch * a.heads * steps, [&](int64_t i) {
            pack_keys(i / steps, i % steps);
            pack_values(i / steps, i % steps);
        });
        parallel(a.pool, a.threads, a.batch * a.heads * blocks, [&](int64_t i) { attend(i); });
        return 0;
    }
};

// Linux lends the tiles to a process that asks (ARCH_REQ_XCOMP_PERM for XTILEDATA): whether it did.
EXPORT int usable() { return syscall(SYS_arch_prctl, 0x1023, 18) == 0; }
EXPORT int attention(const Attention* a) { return Tiles(*a).run(); }
