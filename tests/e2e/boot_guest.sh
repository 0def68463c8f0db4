# boot_guest.sh - runs in the guest of boot.sh.
t()
{
	echo "T $*"
}

t release "$(uname -r)"
t memory "$(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo)"
t date "$(date +%s)"
t cpus "$(grep -c ^processor /proc/cpuinfo)"

# In hundredths of a second, as /proc/uptime counts; 089 would be octal.
centis()
{
	tr -d . </proc/uptime | cut -d' ' -f1 | sed 's/^0*\(.\)/\1/'
}
from=$(centis)
sleep 1
t second $(($(centis) - from))

sum=0 i=0
while [ $i -lt 1000 ]; do
	i=$((i + 1))
	sum=$((sum + i))
done
t sum "$(awk 'BEGIN { for (i = 1; i <= 100000; i++) s += i
	printf "%.0f", s }')"
# By Newton's method: this awk has no sqrt().
t root "$(awk 'BEGIN { x = 1; for (i = 0; i < 9; i++) x = (x + 2 / x) / 2
	printf "%.14f", x }')"
t sha256 "$(sha256sum </dev/null | cut -d' ' -f1)"

head -c 300000 /bin/busybox >/tmp/a
gzip -c /tmp/a | gunzip -c >/tmp/b
cmp /tmp/a /tmp/b && t gzip same

t pipes "$(seq 100 | sort -rn | cat | uniq | wc -l)"
sleep 0.1 && touch /tmp/job &
wait
[ -e /tmp/job ] && t job done

trap 't signal caught' USR1
kill -USR1 $$
sh -c 'kill -SEGV $$'
t segv $?
t end $((sum - 500500))
