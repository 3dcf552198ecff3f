# What the scripts of this directory share.
export PATH=/sbin:/usr/sbin:/bin:/usr/bin
metadata=http://169.254.169.254/latest

# Print one line on both consoles: the serial one, which Nova logs, and the screen.
say() {
	for tty in /dev/ttyS0 /dev/tty1; do echo "$*" >$tty; done 2>/dev/null
}

# Seconds since the kernel started.
uptime() {
	cut -d' ' -f1 /proc/uptime
}

# Wait until a file exists: await <file> <seconds>.
await() {
	tries=$(($2 * 10))
	while [ ! -e "$1" ] && [ $tries -gt 0 ]; do
		sleep 0.1
		tries=$((tries - 1))
	done
	[ -e "$1" ]
}
