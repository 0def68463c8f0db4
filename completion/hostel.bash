# bash completion for hostel(1)

_hostel_disk()
{
	local new="--format --variant --backing --backing-format --provision
		--cluster-size --refcount-bits --lazy-refcounts --compression
		--force"
	local opts="--help"

	if [ "$COMP_CWORD" = 2 ]; then
		COMPREPLY=($(compgen -W "create info check repair convert
			resize map snapshot commit rebase" -- "$cur"))
		return
	fi
	case $prev in
	--format|--from|--backing-format)
		COMPREPLY=($(compgen -W "raw qcow2 vmdk" -- "$cur"))
		return ;;
	--provision)
		COMPREPLY=($(compgen -W "thin metadata thick-lazy thick-eager" \
			-- "$cur"))
		return ;;
	--compression)
		COMPREPLY=($(compgen -W "zlib zstd" -- "$cur"))
		return ;;
	snapshot)
		COMPREPLY=($(compgen -W "list create apply delete" -- "$cur"))
		return ;;
	esac
	case ${COMP_WORDS[2]} in
	create) opts="$new" ;;
	convert) opts="$new --from --compress --jobs" ;;
	info) opts="--format --chain --json" ;;
	check|map|snapshot) opts="--format --json" ;;
	repair) opts="--format --leaks --json" ;;
	resize) opts="--format --shrink" ;;
	commit) opts="--keep" ;;
	rebase) opts="--backing --backing-format --unsafe" ;;
	esac
	COMPREPLY=($(compgen -W "$opts --help" -- "$cur")
		$(compgen -f -- "$cur"))
}

_hostel_images()
{
	hostel image list 2>/dev/null | sed '1d; s/ .*//'
}

_hostel_image()
{
	if [ "$COMP_CWORD" = 2 ]; then
		COMPREPLY=($(compgen -W "build pull import list info verify
			remove" -- "$cur"))
		return
	fi
	case ${COMP_WORDS[2]} in
	build)
		COMPREPLY=($(compgen -W "debian:12 --size --packages --hostname
			--user --password --ssh-key --kernel --append --mirror
			--name --output" -- "$cur")) ;;
	pull)
		COMPREPLY=($(compgen -W "debian:12 debian:13 ubuntu:24.04
			--name --sha256 --sha512 --no-verify" -- "$cur")) ;;
	import)
		COMPREPLY=($(compgen -W "--user" -- "$cur")
			$(compgen -f -- "$cur")) ;;
	info|verify|remove)
		COMPREPLY=($(compgen -W "$(_hostel_images)" -- "$cur")) ;;
	esac
}

_hostel()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}

	COMPREPLY=()
	if [ "$COMP_CWORD" = 1 ]; then
		COMPREPLY=($(compgen -W "run start image disk list rm ssh cp stop power reset
			pause resume stats save screenshot sendkey attach detach devices
			cdrom balloon doctor version help" -- "$cur"))
		return
	fi
	case $prev in
	--kernel|--initrd|--user-data|--meta-data|--ssh-key|--restore|--disk|--cdrom|-v|--trace|--nvram|--firmware-log|--screenshot)
		COMPREPLY=($(compgen -f -- "$cur"))
		return ;;
	--engine)
		COMPREPLY=($(compgen -W "auto kvm translator interpreter" -- "$cur"))
		return ;;
	--cpu)
		COMPREPLY=($(compgen -W "host v1 v2 v3 nehalem westmere haswell
			skylake zen" -- "$cur"))
		return ;;
	--firmware)
		COMPREPLY=($(compgen -W "bios uefi" -- "$cur")
			$(compgen -f -- "$cur"))
		return ;;
	--boot)
		COMPREPLY=($(compgen -W "disk cdrom net menu" -- "$cur"))
		return ;;
	--net)
		COMPREPLY=($(compgen -W "nat switch: tap: none" -- "$cur"))
		return ;;
	--virtio)
		COMPREPLY=($(compgen -W "pci mmio" -- "$cur"))
		return ;;
	--vga)
		COMPREPLY=($(compgen -W "std none" -- "$cur"))
		return ;;
	--console)
		COMPREPLY=($(compgen -W "stdio virtio none" -- "$cur")
			$(compgen -f -- "$cur"))
		return ;;
	--trace-filter)
		COMPREPLY=($(compgen -W "insn event port mmio" -- "$cur"))
		return ;;
	esac
	if [ "${COMP_WORDS[1]}" = disk ]; then
		_hostel_disk
		return
	fi
	if [ "${COMP_WORDS[1]}" = image ]; then
		_hostel_image
		return
	fi
	case ${COMP_WORDS[1]} in
	start|rm|ssh|cp|stop|power|reset|pause|resume|stats|save|screenshot|sendkey|attach|detach|devices|cdrom|balloon)
		if [ "$COMP_CWORD" = 2 ]; then
			COMPREPLY=($(compgen -W "$(hostel list 2>/dev/null |
				sed '1d; s/ .*//')" -- "$cur"))
		else
			COMPREPLY=($(compgen -f -- "$cur"))
		fi ;;
	run)
		COMPREPLY=($(compgen -W "$(_hostel_images)" -- "$cur")
			$(compgen -W "--rm --disk-size --user-data --meta-data
			--ssh-key --ssh-port --kernel --initrd --append --memory
			--disk --cdrom -v --vsock --net -p --firmware --nvram --firmware-log --boot --virtio --vga --screenshot
			--cpus --cpu --restore --engine --console --no-reboot --timeout --stats
			--name --trace --trace-filter --gdb --gdb-wait --help" \
			-- "$cur")) ;;
	doctor)
		COMPREPLY=($(compgen -W "--auto" -- "$cur")) ;;
	esac
}
complete -o filenames -F _hostel hostel
