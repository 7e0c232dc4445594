#!/usr/bin/env node
import '../dist/io.js'
