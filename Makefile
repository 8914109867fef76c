# SPDX-License-Identifier: GPL-2.0
#
# Builds dm-drr.ko against a prepared kernel tree:
#   make KDIR=/path/to/kernel/build
# The tree must hold the kernel's rust/ artefacts, made by the same rustc.
# `cargo xtask build` prepares such a tree for the pinned kernel by itself.

KDIR ?= /lib/modules/$(shell uname -r)/build

modules:
	$(MAKE) -C $(KDIR) M=$(CURDIR) modules

install: modules
	$(MAKE) -C $(KDIR) M=$(CURDIR) modules_install

clean:
	$(MAKE) -C $(KDIR) M=$(CURDIR) clean

.PHONY: modules install clean
