/** What `--help` prints. */
export function usage(program: string): string {
  return `Usage: ${program} [OPTIONS]... [-c STRING]... [file]
Exercises a disk image: reads, writes and examines it by commands.

  --driver NAME|PATH   in front of all others: a driver besides those of the tool; may be repeated
  --object OBJECTDEF   define an object; 'secret' holds a password or a key
  --image-opts         'file' is a list of options
  -c, --cmd STRING     execute the command in the string; may be repeated
  -f, --format FMT     the format of the image; probed when left out
  -r, --read-only      open for reading only
  -s, --snapshot       keep changes in a temporary overlay
  -n, --nocache        past the page cache, short for -t none
  -C, --copy-on-read   keep what comes from a backing file in the image
  -m, --misalign       misalign the memory of requests
  -k, --native-aio     short for -i native
  -i, --aio=MODE       threads, native or io_uring
  -t, --cache=MODE     cache mode: none, writeback, writethrough, directsync or unsafe
  -d, --discard=MODE   ignore (off) or unmap (on)
  -T, --trace SPEC     accepted, without effect
  -U, --force-share    share the image with everybody (with -r)
  -h, --help           show this help
  -V, --version        show the version

Without -c, commands are read from standard input. '${program} -c help' lists them.
`
}
