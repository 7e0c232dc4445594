/** What `--help` prints. */
export function helpText(program: string): string {
  return `Usage: ${program} [options]
Serves the nodes of a block graph, steered by QMP.

  -h, --help             show this and end
  -V, --version          show the version and end
  -T, --trace PATTERN    accepted for compatibility, no effect

  --add-fd fd=FD,set=N[,opaque=TEXT]
                         let /dev/fdset/N stand for a descriptor that the program inherits
  --blockdev OPTIONS     add a node: driver=qcow2,node-name=disk0,file.driver=file,file.filename=a.qcow2
                         or the same as JSON
  --chardev OPTIONS      define what a monitor talks through:
                           stdio,id=ID
                           socket,id=ID,path=PATH,server=on,wait=off
                           socket,id=ID,host=127.0.0.1,port=PORT,server=on,wait=off
                           socket,id=ID,fd=FD[,server=on]
                         without server=on the daemon connects
  --monitor [chardev=]ID[,mode=control][,pretty=on|off]
                         a QMP monitor on a character device
  --nbd-server addr.type=unix,addr.path=PATH[,tls-creds=ID][,tls-authz=ID][,max-connections=N]
  --nbd-server addr.type=inet,addr.host=HOST,addr.port=PORT[,...]
  --nbd-server addr.type=fd,addr.str=FD[,...]
                         serve exports by NBD
  --export [type=]nbd,id=ID,node-name=NAME[,name=EXPORT][,writable=on|off][,bitmaps.0=NAME]
                         export a node; needs --nbd-server
  --drive OPTIONS        add a device with its node, as the system emulator does: file=a.qcow2,id=d0,werror=stop
  --config FILE          take options from a file of JSON: {"blockdev": [{"driver": …}], "nbd-server": {…}, "pidfile": "…"}
  --log LEVEL|FILE       write lines of JSON to standard error from a level on (debug, info, warn, error), or to a file;
                         or level=LEVEL,file=FILE
  --metrics HOST:PORT    figures of nodes, devices, jobs and NBD clients for Prometheus at http://HOST:PORT/metrics
  --console PORT         a web page at http://127.0.0.1:PORT with the live graph, jobs and throughput (0: a free port);
                         its address, which lets in who has it, is printed
  --object TYPE,id=ID[,PROPERTY=VALUE...] | help | TYPE,help
                         add an object: secret, throttle-group, tls-creds-x509, tls-creds-psk,
                         authz-simple, authz-list, iothread
  --pidfile PATH         write the number of the process to PATH once everything is ready
  --daemonize            go into the background once everything is ready
  --demo FOLDER          make a small stack in FOLDER, which is empty or new, and serve it: NBD, QMP, console at 8040
  --allow-tcp            let --chardev and --metrics listen beyond this machine
  --allow-references     open whatever images refer to, as QEMU does; else only neighbours with a recorded format

Options take effect in the order in which they are given.
`
}
