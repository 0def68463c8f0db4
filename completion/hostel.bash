# bash completion for hostel(1)

_hostel()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}

	COMPREPLY=()
	if [ "$COMP_CWORD" = 1 ]; then
		COMPREPLY=($(compgen -W "run doctor version help" -- "$cur"))
		return
	fi
	case $prev in
	--kernel|--initrd|--disk|--trace|--nvram|--firmware-log|--screenshot)
		COMPREPLY=($(compgen -f -- "$cur"))
		return ;;
	--engine)
		COMPREPLY=($(compgen -W "auto translator interpreter" -- "$cur"))
		return ;;
	--firmware)
		COMPREPLY=($(compgen -W "bios uefi" -- "$cur")
			$(compgen -f -- "$cur"))
		return ;;
	--vga)
		COMPREPLY=($(compgen -W "std none" -- "$cur"))
		return ;;
	--console)
		COMPREPLY=($(compgen -W "stdio none" -- "$cur")
			$(compgen -f -- "$cur"))
		return ;;
	--trace-filter)
		COMPREPLY=($(compgen -W "insn event port mmio" -- "$cur"))
		return ;;
	esac
	case ${COMP_WORDS[1]} in
	run)
		COMPREPLY=($(compgen -W "--kernel --initrd --append --memory
			--disk --firmware --nvram --firmware-log --vga --screenshot
			--cpus --engine --console --no-reboot --timeout --stats
			--name --trace --trace-filter --gdb --gdb-wait --help" \
			-- "$cur")) ;;
	doctor)
		COMPREPLY=($(compgen -W "--auto" -- "$cur")) ;;
	esac
}
complete -o filenames -F _hostel hostel
