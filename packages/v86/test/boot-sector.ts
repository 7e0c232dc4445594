/**
 * A disk's first sector that a PC starts: by the BIOS it reads sector 1, turns all its bits, writes it to sector 2, and
 * says `written` or `failed` on its serial line.
 */
export function bootSector(): Uint8Array {
  const program = [
    'fa 31 c0 8e d8 8e d0 bc 00 7c fb', // cli; ds = ss = 0; sp = 0x7c00; sti
    'be 44 7c b4 42 cd 13 72 1f', // si = packet; ah = 0x42, read; int 0x13; jc failed
    'bb 00 80 b9 00 02', // bx = 0x8000; cx = 512
    'f6 17 43 e2 fb', // not [bx]; inc bx; loop
    'c6 06 4c 7c 02', // the sector of the packet = 2
    'be 44 7c b8 00 43 cd 13 72 05', // si = packet; ax = 0x4300, write; int 0x13; jc failed
    'be 54 7c eb 03', // si = good; jmp print
    'be 5c 7c', // failed: si = bad
    'ac 84 c0 74 06 ba f8 03 ee eb f5', // print: lodsb; at its end halt; out 0x3f8, al; jmp print
    'f4 eb fd', // halt: hlt; jmp halt
    '10 00 01 00 00 80 00 00 01 00 00 00 00 00 00 00', // packet: one sector, to 0:0x8000, sector 1
    ...[...'written\0failed\0'].map((letter) => letter.charCodeAt(0).toString(16)),
  ]
  const sector = new Uint8Array(512)
  sector.set(program.flatMap((line) => line.split(' ').map((byte) => Number.parseInt(byte, 16))))
  sector.set([0x55, 0xaa], 510)
  return sector
}
