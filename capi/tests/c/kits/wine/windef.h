/* Types as a wine-like kit has them. */
#ifndef __KIT_WINDEF_H
#define __KIT_WINDEF_H
typedef unsigned int ULONG;
typedef unsigned long SIZE_T;
typedef void *PVOID;
typedef unsigned char UCHAR;
#endif
