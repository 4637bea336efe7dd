# Two commands: `make up` (set up, build, start a one-host cluster, run a pod) and `make check` (set up, build, test).
BUILD ?= build
export BULKHEAD_BUILD := $(abspath $(BUILD))

.PHONY: all build setup up down check check-upstream unit e2e bench lab clean
all: build

setup:                       ## install what is missing
	@tools/setup

$(BUILD)/build.ninja: | setup
	meson setup $(BUILD) --buildtype=debugoptimized

build: $(BUILD)/build.ninja  ## programs in build/bin, guest image in build/guest
	ninja -C $(BUILD)

up: build                    ## start a one-host cluster and run a pod
	tools/demo-up

down:                        ## stop it; nothing stays behind but images and objects
	$(BUILD)/bin/bulkhead down

check: setup                 ## everything CI runs
	tools/check

check-upstream: build        ## our host under an upstream kube-apiserver, built once from Debian's source package
	tests/upstream/run

lab: build                   ## the KVM engine with stock guests, on real KVM inside QEMU
	tests/lab/run

clean:
	rm -rf build build-*
