// SPDX-License-Identifier: Apache-2.0
// The same program as C++: headers, initializers and linkage must serve both.
#include "consumer.c"
