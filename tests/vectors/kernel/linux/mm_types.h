/* SPDX-License-Identifier: GPL-2.0 */
/* A page is its own address. */
#define PAGE_SIZE 4096

struct page {
	char bytes[PAGE_SIZE];
};
