// Linear layers in fp32.
#include "linear.h"

EXPORT int panel() { return Singles::COLUMNS * WIDTH; }
EXPORT int linear(const Linear* a) { return layer<Singles>(a); }
