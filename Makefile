# A thin layer over meson and ninja; `make help` lists what it does.
BUILD = build
SANITIZE_BUILD = build-sanitize
PREFIX = /usr/local

.PHONY: all run test test-kvm test-old test-zoo bench bench-disk bench-net bench-boot \
	sanitize soak crash install clean distclean format help

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD)

$(BUILD)/build.ninja:
	@meson setup $(BUILD) --prefix $(PREFIX) >/dev/null || \
		{ echo "meson failed; 'sh tools/prereqs.sh' installs what" \
			"building needs" >&2; exit 1; }

# Both work in a fresh clone on a fresh machine, and cost nothing extra later.
run test bench bench-disk bench-net bench-boot: export BUILD := $(BUILD)

run:
	@sh tools/prereqs.sh
	@$(MAKE) -s --no-print-directory $(BUILD)/build.ninja
	@ninja -C $(BUILD) hostel hostel-vm
	@sh tools/guest.sh all
	@sh tools/run.sh

test:
	@sh tools/prereqs.sh qemu-system-x86 qemu-utils
	@sh tools/test.sh $(BUILD)

# All of the KVM engine, in a machine made for it: 20 boots with one and with
# two processors, 20 moves between engines, the end-to-end tests; over an hour.
# Left out: what KVM has not (lockstep, most of trace), and what QEMU's processor
# does not do for a guest of its own (gdb's points) or may abort at (UEFI).
KVM_E2E = exit rng code reboot save control terminal console kill jail clock \
	disk disk_verbs disk_whole bad_disk bad_input power_cut cdrom hotplug \
	balloon sata sata_errors save_work,virtio save_work,sata share \
	share_files rebind sendkey \
	nat,virtio nat,virtio,packed nat,e1000 offload switch switch_dies \
	hvc hvc_size vsock,pci vsock,packed vsock,mmio mmio mmio_all \
	images patching vga loaders firmware,bios grub,virtio grub,ahci \
	grub,cdrom grub,mmio
test-kvm: all
	@sh tools/prereqs.sh qemu-system-x86 e2fsprogs
	@sh tools/guest.sh all
	@LIMIT=9000 NPT=0 sh tests/kvm/nest.sh $(BUILD) doctor guests io wake \
		memory boot:20 move:20 $(KVM_E2E:%=e2e:%)

# The translator on a processor without BMI2 and AVX; three minutes.
test-old: all
	@sh tools/prereqs.sh qemu-system-x86
	@sh tools/guest.sh all
	@CPU=Nehalem sh tests/kvm/nest.sh $(BUILD) old

# Kernels, hypervisors, boot loaders and firmware out of Debian's packages;
# downloads half a gigabyte, once.
test-zoo:
	@sh tools/prereqs.sh grub-common grub-pc-bin grub-efi-amd64-bin \
		xorriso mtools cpio
	@$(MAKE) -s --no-print-directory $(BUILD)/build.ninja
	@ninja -C $(BUILD) hostel hostel-vm
	@bash tests/zoo.sh

# Builds a Debian and uses it; keeps the image for the next time.
test-images:
	@sh tools/prereqs.sh mmdebstrap mtools e2fsprogs curl openssh-client \
		ovmf seabios fakeroot fakechroot uidmap
	@$(MAKE) -s --no-print-directory $(BUILD)/build.ninja
	@ninja -C $(BUILD) hostel hostel-vm
	@IMAGES_HOME=$(abspath .cache/images) bash tests/images.sh

bench:
	@sh tools/prereqs.sh qemu-system-x86
	@$(MAKE) -s --no-print-directory $(BUILD)/build.ninja
	@ninja -C $(BUILD) hostel hostel-vm
	@sh tools/guest.sh kernel cloud-amd64
	@sh tools/guest.sh initramfs
	@sh bench/run.sh

# Disks alone, by fio in the guest.
bench-disk: all
	@sh tools/prereqs.sh qemu-system-x86 qemu-utils fio
	@sh bench/fio.sh

# Networks, by iperf3 between guests and from guest to host.
bench-net: all
	@sh tools/prereqs.sh qemu-system-x86 iperf3
	@sh bench/net.sh

# Power-on to multi-user, with an image that is built at first.
bench-boot: all
	@sh tools/prereqs.sh qemu-system-x86 mmdebstrap mtools e2fsprogs \
		openssh-client
	@bash bench/boot.sh

# Every test under AddressSanitizer and UBSan, at their speed; then those that
# AddressSanitizer's use of the address space rules out under UBSan alone.
UBSAN_BUILD = $(SANITIZE_BUILD)-ub

sanitize: export HOSTEL_SANITIZED = 1
sanitize: export UBSAN_OPTIONS = print_stacktrace=1
sanitize:
	@sh tools/prereqs.sh qemu-utils
	@test -e $(SANITIZE_BUILD)/build.ninja || meson setup $(SANITIZE_BUILD) \
		-Db_sanitize=address,undefined -Db_lundef=false \
		-Dc_args=-fno-sanitize-recover=undefined >/dev/null
	@sh tools/test.sh $(SANITIZE_BUILD) --timeout-multiplier 20
	@test -e $(UBSAN_BUILD)/build.ninja || meson setup $(UBSAN_BUILD) \
		-Db_sanitize=undefined -Db_lundef=false \
		-Dc_args=-fno-sanitize-recover=undefined >/dev/null
	@sh tools/test.sh $(UBSAN_BUILD) --suite diff --timeout-multiplier 20

soak: all
	@sh tools/guest.sh all
	@python3 tests/e2e/clock.py 60
	@bash tests/soak.sh

# 1,000 rounds of random writes and crashes for each disk format.
crash: $(BUILD)/build.ninja
	@ninja -C $(BUILD) tests/crash
	@for f in raw qcow2 vmdk; do \
		$(BUILD)/tests/crash --format $$f --rounds $(or $(ROUNDS),1000) || exit 1; \
	done

install: all
	meson install -C $(BUILD) --no-rebuild

clean:
	rm -rf $(BUILD) $(SANITIZE_BUILD) $(UBSAN_BUILD)

distclean: clean
	rm -rf .cache

help:
	@echo "make            build build/hostel and build/hostel-vm"
	@echo "make run        boot a stock Linux kernel to a shell"
	@echo "make test       run all tests ('meson test -C build NAME': one)"
	@echo "make test-kvm   test the KVM engine at length, in QEMU with AMD-V"
	@echo "make test-old   test the translator on QEMU's Nehalem: no BMI2"
	@echo "make test-images  build a Debian, boot it, use it (minutes)"
	@echo "make bench      compare with QEMU and the bare processor"
	@echo "make bench-disk compare disks with QEMU by fio"
	@echo "make bench-net  compare networks with QEMU by iperf3"
	@echo "make bench-boot compare power-on to multi-user with QEMU"
	@echo "make sanitize   run all tests under ASan and UBSan"
	@echo "make soak       boot many times (N=50 JOBS=1 BUSY=0)"
	@echo "make crash      kill guests' disks at random moments (ROUNDS=1000)"
	@echo "make install    install under PREFIX (default /usr/local)"
	@echo "make clean      remove what was built; distclean: downloads too"
