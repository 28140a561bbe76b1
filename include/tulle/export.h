/* SPDX-License-Identifier: Apache-2.0
 * What the shared library exports: everything marked TULLE_API, nothing else. */
#ifndef TULLE_EXPORT_H
#define TULLE_EXPORT_H

#if defined(__GNUC__) || defined(__clang__)
#define TULLE_API __attribute__((visibility("default")))
#else
#define TULLE_API
#endif

#ifdef __cplusplus
#define TULLE_BEGIN_DECLS extern "C" {
#define TULLE_END_DECLS   }
#else
#define TULLE_BEGIN_DECLS
#define TULLE_END_DECLS
#endif

#endif
