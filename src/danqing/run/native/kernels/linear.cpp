// Linear layers in bf16.
#include "linear.h"

EXPORT int panel() { return Halves::COLUMNS * WIDTH; }
EXPORT int linear(const Linear* a) { return layer<Halves>(a); }
