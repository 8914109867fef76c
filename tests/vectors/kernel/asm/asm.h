/* SPDX-License-Identifier: GPL-2.0 */
/* No memory is broken here. */
#define _ASM_EXTABLE_TYPE(from, to, type) ""
