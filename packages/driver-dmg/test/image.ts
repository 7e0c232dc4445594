/** Images as macOS writes them. */
import { deflateSync } from 'node:zlib'

/** How a piece of a disk is stored. */
export interface Piece {
  readonly kind: number
  /** What it reads as. */
  readonly content: Uint8Array
  /** What stands in the file. Default: nothing for zeroes, the content for kind 1, and deflated for kind 0x80000005. */
  readonly stored?: Uint8Array
}

/** Where the numbers of an image stand: those of the trailer, and those of each chunk where the tables are no text. */
export interface DmgFields {
  readonly trailer: number
  readonly chunks: readonly number[]
}

/** An image of the pieces, those of each inner list in a table of its own, and what it reads as. */
export function dmgImage(tables: readonly (readonly Piece[])[], where: 'property list' | 'resource fork') {
  const data: Uint8Array[] = []
  const content: Uint8Array[] = []
  let at = 0
  let sector = 0
  const blocks = tables.map((pieces) => {
    const first = sector
    const start = at
    const block = Buffer.alloc(204 + (pieces.length + 1) * 40)
    block.write('mish')
    block.writeUInt32BE(1, 4)
    block.writeBigUInt64BE(BigInt(first), 8)
    block.writeBigUInt64BE(BigInt(start), 24)
    block.writeUInt32BE(pieces.length + 1, 200)
    for (const [i, piece] of pieces.entries()) {
      const stored = storedBytes(piece)
      const entry = 204 + i * 40
      block.writeUInt32BE(piece.kind, entry)
      block.writeBigUInt64BE(BigInt(sector - first), entry + 8)
      block.writeBigUInt64BE(BigInt(piece.content.length / 512), entry + 16)
      block.writeBigUInt64BE(BigInt(at - start), entry + 24)
      block.writeBigUInt64BE(BigInt(stored.length), entry + 32)
      data.push(stored)
      content.push(piece.content)
      at += stored.length
      sector += piece.content.length / 512
    }
    block.writeUInt32BE(0xffffffff, 204 + pieces.length * 40)
    block.writeBigUInt64BE(BigInt(sector - first), 16)
    return block
  })
  const list = where === 'property list' ? propertyList(blocks) : resourceFork(blocks)
  const trailer = Buffer.alloc(512)
  trailer.write('koly')
  trailer.writeUInt32BE(4, 4)
  trailer.writeUInt32BE(512, 8)
  trailer.writeBigUInt64BE(BigInt(at), 32)
  trailer.writeBigUInt64BE(BigInt(at), where === 'property list' ? 216 : 40)
  trailer.writeBigUInt64BE(BigInt(list.length), where === 'property list' ? 224 : 48)
  trailer.writeUInt32BE(1, 60)
  trailer.writeBigUInt64BE(BigInt(sector), 492)
  const fields: DmgFields = {
    trailer: at + list.length,
    chunks: where === 'resource fork' ? chunkPlaces(blocks, at) : [],
  }
  return {
    bytes: new Uint8Array(Buffer.concat([...data, list, trailer])),
    content: new Uint8Array(Buffer.concat(content)),
    fields,
  }
}

function storedBytes({ kind, content, stored }: Piece): Uint8Array {
  if (stored !== undefined) return stored
  if (kind === 1) return content
  return kind === 0x80000005 ? deflateSync(content) : new Uint8Array(0)
}

function propertyList(blocks: readonly Buffer[]): Buffer {
  const entries = blocks.map(
    (block, i) =>
      `<dict><key>Attributes</key><string>0x0050</string><key>Data</key><data>\n${block.toString('base64').replace(/.{52}/g, '$&\n\t')}\n</data>` +
      `<key>ID</key><string>${i}</string><key>Name</key><string>part ${i}</string></dict>`,
  )
  const other = '<key>plst</key><array><dict><key>Data</key><data>AAAA</data></dict></array>'
  return Buffer.from(
    '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "x.dtd">\n' +
      `<plist version="1.0"><dict><key>resource-fork</key><dict><!-- <dict> --><key>blkx</key><array>${entries.join('')}</array>${other}</dict></dict></plist>`,
  )
}

/** Data begins at 16, each resource with its length; then the map, with one type. */
function resourceFork(blocks: readonly Buffer[]): Buffer {
  const resources = blocks.map((block) => {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(block.length)
    return Buffer.concat([length, block])
  })
  const data = Buffer.concat(resources)
  const map = Buffer.alloc(28 + 2 + 8 + blocks.length * 12)
  map.writeUInt16BE(28, 24)
  map.writeUInt16BE(0, 28)
  map.write('blkx', 30)
  map.writeUInt16BE(blocks.length - 1, 34)
  map.writeUInt16BE(10, 36)
  let place = 0
  for (const [i, resource] of resources.entries()) {
    map.writeUInt32BE(place, 38 + i * 12 + 4)
    place += resource.length
  }
  const head = Buffer.alloc(16)
  head.writeUInt32BE(16, 0)
  head.writeUInt32BE(16 + data.length, 4)
  head.writeUInt32BE(data.length, 8)
  head.writeUInt32BE(map.length, 12)
  return Buffer.concat([head, data, map])
}

function chunkPlaces(blocks: readonly Buffer[], fork: number): number[] {
  let at = fork + 16
  return blocks.flatMap((block) => {
    const start = at + 4
    at = start + block.length
    return Array.from({ length: (block.length - 204) / 40 }, (_, i) => start + 204 + i * 40)
  })
}

/** Content of its own for each byte of a piece that begins at `seed`. */
export function filled(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (Math.floor(i / 64) * 7 + (i % 5) + seed) % 256)
}

/** A disk of several tables, with every way to store that needs no program. */
export function usualPieces(sectors: number): Piece[][] {
  const unit = sectors * 512
  return [
    [{ kind: 0x80000005, content: filled(unit, 1) }],
    [
      { kind: 1, content: filled(unit * 2, 2) },
      { kind: 2, content: new Uint8Array(unit) },
      { kind: 0x80000005, content: filled(unit, 3) },
      { kind: 0, content: new Uint8Array(unit * 2) },
    ],
    [{ kind: 0x80000004, content: new Uint8Array(unit).fill(9), stored: adcRuns(unit, 9) }],
  ]
}

/** A byte, and copies of it. */
function adcRuns(length: number, byte: number): Uint8Array {
  const codes = [0x80, byte]
  for (let rest = length - 1; rest > 0; ) {
    const run = rest > 67 + 4 ? 67 : rest > 67 ? rest - 4 : rest
    codes.push(...(run >= 4 ? [0x40 + run - 4, 0, 0] : [0x80 + run - 1, ...Array(run).fill(byte)]))
    rest -= run
  }
  return Uint8Array.from(codes)
}
