#!/usr/bin/env node
import '../dist/img.js'
