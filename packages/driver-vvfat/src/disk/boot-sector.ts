/** The sectors before the FATs: table of partitions, boot sector, and FAT32's further ones. Little-endian. */
import { firstCluster, type Geometry, sectorSize } from './geometry.ts'

/** QEMU's, so that a guest takes both for the same disk. */
const serial = 0xfabe1afd
const diskSerial = 0xbe1afdfa
const hardDisk = 0x80
const partitionTypes = { 12: 0x01, 16: 0x06, 32: 0x0b } as const
/** FAT32 behind the reach of cylinders, heads and sectors. */
const partitionTypeLba = 0x0c
const infoSector = 1
const backupSector = 6

/** What is free, for FAT32's sector of information. */
interface FreeSpace {
  readonly clusters: number
  readonly next: number
}

/** All sectors before the first FAT. `label` has 11 bytes. */
export function headerOf(geometry: Geometry, label: Uint8Array, free: FreeSpace): Uint8Array {
  const { hidden, reserved } = geometry
  const header = new Uint8Array((hidden + reserved) * sectorSize)
  const sector = (index: number): Uint8Array => header.subarray(index * sectorSize, (index + 1) * sectorSize)
  if (hidden > 0) writePartitionTable(sector(0), geometry)
  writeBootSector(sector(hidden), geometry, label)
  if (geometry.fatType === 32) {
    writeInfo(sector(hidden + infoSector), free)
    sector(hidden + 2).set([0x55, 0xaa], 510)
    for (let i = 0; i < 3; i++) sector(hidden + backupSector + i).set(sector(hidden + i))
  }
  return header
}

function writePartitionTable(sector: Uint8Array, geometry: Geometry): void {
  const view = viewOf(sector)
  view.setUint32(0x1b8, diskSerial, true)
  const entry = 0x1be
  const last = geometry.hidden + geometry.sectors - 1
  sector[entry] = hardDisk
  sector.set(chs(geometry.hidden, geometry), entry + 1)
  const isFar = geometry.fatType === 32 && last >= 1024 * geometry.heads * geometry.trackSectors
  sector[entry + 4] = isFar ? partitionTypeLba : partitionTypes[geometry.fatType]
  sector.set(chs(last, geometry), entry + 5)
  view.setUint32(entry + 8, geometry.hidden, true)
  view.setUint32(entry + 12, geometry.sectors, true)
  sector.set([0x55, 0xaa], 510)
}

/** Head, sector with two bits of the cylinder, cylinder; the largest where the address does not fit. */
function chs(sector: number, { heads, trackSectors }: Geometry): readonly number[] {
  const track = Math.floor(sector / trackSectors)
  const cylinder = Math.floor(track / heads)
  if (cylinder > 1023) return [0xfe, 0xff, 0xff]
  return [track % heads, ((cylinder >> 8) << 6) | ((sector % trackSectors) + 1), cylinder & 0xff]
}

function writeBootSector(sector: Uint8Array, geometry: Geometry, label: Uint8Array): void {
  const { fatType, floppy, sectors, fatSectors } = geometry
  const view = viewOf(sector)
  sector.set([0xeb, fatType === 32 ? 0x58 : 0x3e, 0x90])
  sector.set(ascii('MSWIN4.1'), 3)
  view.setUint16(11, sectorSize, true)
  sector[13] = geometry.clusterSectors
  view.setUint16(14, geometry.reserved, true)
  sector[16] = 2
  view.setUint16(17, geometry.rootEntries, true)
  const isShort = sectors < 0x10000 && fatType !== 32
  view.setUint16(19, isShort ? sectors : 0, true)
  sector[21] = geometry.media
  view.setUint16(22, fatType === 32 ? 0 : fatSectors, true)
  view.setUint16(24, geometry.trackSectors, true)
  view.setUint16(26, geometry.heads, true)
  view.setUint32(28, geometry.hidden, true)
  view.setUint32(32, isShort ? 0 : sectors, true)
  if (fatType === 32) {
    view.setUint32(36, fatSectors, true)
    view.setUint32(44, firstCluster, true)
    view.setUint16(48, infoSector, true)
    view.setUint16(50, backupSector, true)
  }
  const extended = fatType === 32 ? 64 : 36
  sector[extended] = floppy && fatType !== 32 ? 0 : hardDisk
  sector[extended + 2] = 0x29
  view.setUint32(extended + 3, serial, true)
  sector.set(label, extended + 7)
  sector.set(ascii(`FAT${fatType}   `), extended + 18)
  sector.set([0x55, 0xaa], 510)
}

function writeInfo(sector: Uint8Array, free: FreeSpace): void {
  const view = viewOf(sector)
  view.setUint32(0, 0x41615252, true)
  view.setUint32(484, 0x61417272, true)
  view.setUint32(488, free.clusters, true)
  view.setUint32(492, free.next, true)
  view.setUint32(508, 0xaa550000, true)
}

function ascii(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

function viewOf(sector: Uint8Array): DataView {
  return new DataView(sector.buffer, sector.byteOffset, sector.byteLength)
}
