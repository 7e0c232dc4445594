/** QAPI: introspection. */
import type { TypeTable } from '../notation.ts'

export const introspectionTypes = {
  EventInfo: { struct: { name: 'str' } },
  CommandInfo: { struct: { name: 'str' } },
  SchemaInfo: {
    struct: { name: 'str', 'meta-type': 'SchemaMetaType', '*features': ['str'] },
    tag: 'meta-type',
    variants: {
      builtin: 'SchemaInfoBuiltin',
      enum: 'SchemaInfoEnum',
      array: 'SchemaInfoArray',
      object: 'SchemaInfoObject',
      alternate: 'SchemaInfoAlternate',
      command: 'SchemaInfoCommand',
      event: 'SchemaInfoEvent',
    },
  },
  SchemaMetaType: { enum: ['builtin', 'enum', 'array', 'object', 'alternate', 'command', 'event'] },
  SchemaInfoBuiltin: { struct: { 'json-type': 'JSONType' } },
  JSONType: { enum: ['string', 'number', 'int', 'boolean', 'null', 'object', 'array', 'value'] },
  SchemaInfoEnum: { struct: { members: ['SchemaInfoEnumMember'], values: ['str'] } },
  SchemaInfoEnumMember: { struct: { name: 'str', '*features': ['str'] } },
  SchemaInfoArray: { struct: { 'element-type': 'str' } },
  SchemaInfoObject: {
    struct: { members: ['SchemaInfoObjectMember'], '*tag': 'str', '*variants': ['SchemaInfoObjectVariant'] },
  },
  SchemaInfoObjectMember: { struct: { name: 'str', type: 'str', '*default': 'any', '*features': ['str'] } },
  SchemaInfoObjectVariant: { struct: { case: 'str', type: 'str' } },
  SchemaInfoAlternate: { struct: { members: ['SchemaInfoAlternateMember'] } },
  SchemaInfoAlternateMember: { struct: { type: 'str' } },
  SchemaInfoCommand: { struct: { 'arg-type': 'str', 'ret-type': 'str', '*allow-oob': 'bool' } },
  SchemaInfoEvent: { struct: { 'arg-type': 'str' } },
  CommandLineOptionInfo: { struct: { option: 'str', parameters: ['CommandLineParameterInfo'] } },
  CommandLineParameterInfo: {
    struct: { name: 'str', type: 'CommandLineParameterType', '*help': 'str', '*default': 'str' },
  },
  CommandLineParameterType: { enum: ['string', 'boolean', 'number', 'size'] },
} as const satisfies TypeTable
