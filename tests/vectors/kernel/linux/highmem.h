/* SPDX-License-Identifier: GPL-2.0 */
#define kmap_local_page(page) ((void *)(page))
#define kunmap_local(addr) ((void)(addr))
