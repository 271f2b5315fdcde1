/* Included before everything else when QuickJS is compiled. On WASI it does without a limit to the depth of calls; told that it is
 * on another system without threads, it watches its stack. The C library's headers have to be seen before that. */
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fenv.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#undef __wasi__
#define EMSCRIPTEN 1
