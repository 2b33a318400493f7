// The firmware side of the lab's persistent memory: an NVDIMM bus whose methods keep all their state in the control
// page CONTROL_PAGE, which is part of the memory's backing file, so that the host can read and change it.
//
// Root methods: ACPI 6.5, 9.20.7. Methods of a module: Intel's NVDIMM _DSM interface, function 1 (SMART).
// The DSDT of QEMU has revision 1: integers have 32 bits, and every address here is below 4 GiB.
DefinitionBlock ("", "SSDT", 2, "PMSET ", "PMSETLAB", 1)
{
    Scope (\_SB)
    {
        Device (NVDR)
        {
            Name (_HID, "ACPI0012")

            // COUN records of 24 bytes (u32 handle, u32 0, u64 address, u64 length) describe the bad memory.
            OperationRegion (CTRL, SystemMemory, CONTROL_PAGE, 0x1000)
            Field (CTRL, DWordAcc, NoLock, Preserve)
            {
                MAGI, 32, COUN, 32, SCAN, 32, Offset (0x10),
                CNT0, 32, STA0, 32, CNT1, 32, STA1, 32, Offset (0x100),
                RECO, 12288
            }

            Name (SCA0, 0)                  // what the last scrub was asked for: address, length
            Name (SCA1, 0)
            Name (LIST, Buffer (1536) {})   // a list of records under construction, and its length
            Name (USED, 0)

            Method (PEEK, 2, Serialized)    // the word at byte Arg1 of buffer Arg0
            {
                CreateDWordField (Arg0, Arg1, WORD)
                Return (WORD)
            }

            Method (POKE, 2, Serialized)    // LIST: sets the word at byte Arg0 to Arg1
            {
                CreateDWordField (LIST, Arg0, WORD)
                WORD = Arg1
            }

            Method (APPE, 2, Serialized)    // LIST: appends [Arg0, Arg1), unless that is empty or the list is full
            {
                If ((Arg0 < Arg1) && (USED < 64))
                {
                    Local0 = USED * 24
                    POKE (Local0, 1)
                    POKE (Local0 + 8, Arg0)
                    POKE (Local0 + 16, Arg1 - Arg0)
                    USED++
                }
            }

            Method (HEAL, 2, Serialized)    // rebuilds the records without [Arg0, Arg1); Arg2 below is what was bad of it
            {
                LIST = Buffer (1536) {}
                USED = 0
                Local0 = RECO
                Local1 = 0
                While (Local1 < COUN)
                {
                    Local2 = PEEK (Local0, Local1 * 24 + 8)
                    Local3 = Local2 + PEEK (Local0, Local1 * 24 + 16)
                    If ((Local3 <= Arg0) || (Local2 >= Arg1))
                    {
                        APPE (Local2, Local3)
                    }
                    Else
                    {
                        APPE (Local2, Arg0)
                        APPE (Arg1, Local3)
                    }
                    Local1++
                }
            }

            Method (KEEP, 0, Serialized)    // makes LIST the records
            {
                RECO = LIST
                COUN = USED
            }

            Method (_DSM, 4, Serialized)
            {
                If (Arg0 != ToUUID ("2f10e7a4-9e91-11e4-89d3-123b93f75cba"))
                {
                    Return (Buffer () { 0 })
                }
                If (Arg2 == 0)              // functions 1 to 4 and 7 to 9
                {
                    Return (Buffer () { 0x9F, 0x03 })
                }
                Local7 = Buffer (32) {}     // the input, padded
                If (ObjectType (Arg3) == 4)
                {
                    If (SizeOf (Arg3) > 0)
                    {
                        Local6 = DerefOf (Arg3 [0])
                        If (SizeOf (Local6) > 0)
                        {
                            Local7 = Concatenate (Local6, Buffer (32) {})
                        }
                    }
                }
                Local1 = PEEK (Local7, 0)   // address
                Local2 = PEEK (Local7, 8)   // length
                Switch (ToInteger (Arg2))
                {
                    Case (1)                // query ARS capabilities: both kinds, unit of clearing 256 bytes
                    {
                        LIST = Buffer (1536) {}
                        POKE (0, 0x30000)
                        POKE (4, 1584)
                        POKE (8, 256)
                        Return (Mid (LIST, 0, 16))
                    }
                    Case (2)                // start ARS: is done at once
                    {
                        SCA0 = Local1
                        SCA1 = Local2
                        SCAN++
                        Return (Buffer (8) {})
                    }
                    Case (3)                // query ARS status
                    {
                        LIST = Buffer (1536) {}
                        POKE (4, COUN * 24 + 48)
                        POKE (8, SCA0)
                        POKE (16, SCA1)
                        POKE (44, COUN)
                        Return (Concatenate (Mid (LIST, 0, 48), RECO))
                    }
                    Case (4)                // clear uncorrectable error
                    {
                        If ((Local2 == 0) || ((Local1 | Local2) & 0xFF))
                        {
                            LIST = Buffer (1536) {}
                            POKE (0, 2)
                            Return (Mid (LIST, 0, 16))
                        }
                        HEAL (Local1, Local1 + Local2)
                        KEEP ()
                        LIST = Buffer (1536) {}
                        POKE (8, Local2)
                        Return (Mid (LIST, 0, 16))
                    }
                    Case (7)                // ARS error inject
                    {
                        HEAL (Local1, Local1 + Local2)
                        APPE (Local1, Local1 + Local2)
                        KEEP ()
                        If (PEEK (Local7, 16) & 1)
                        {
                            Notify (NVDR, 0x81)
                        }
                        Return (Buffer (4) {})
                    }
                    Case (8)                // ARS error inject clear
                    {
                        HEAL (Local1, Local1 + Local2)
                        KEEP ()
                        Return (Buffer (4) {})
                    }
                    Case (9)                // ARS error inject status: none is reported as injected
                    {
                        Return (Buffer (8) {})
                    }
                }
                Return (Buffer () { 0 })
            }

            Method (SMRT, 2, Serialized)    // the SMART page of a module: shutdown count Arg0, last state Arg1
            {
                LIST = Buffer (1536) {}
                POKE (4, 0x421)             // valid: health, last shutdown state, shutdown count
                POKE (20, Arg0)
                POKE (32, Arg1 << 24)
                Return (Mid (LIST, 0, 132))
            }

            Device (NVD0)
            {
                Name (_ADR, 1)
                Method (_DSM, 4, Serialized)
                {
                    If (Arg0 == ToUUID ("4309ac30-0d11-11e4-9191-0800200c9a66"))
                    {
                        If (Arg2 == 0) { Return (Buffer () { 3 }) }
                        If (Arg2 == 1) { Return (SMRT (CNT0, STA0)) }
                    }
                    Return (Buffer () { 0 })
                }
            }

            Device (NVD1)
            {
                Name (_ADR, 2)
                Method (_DSM, 4, Serialized)
                {
                    If (Arg0 == ToUUID ("4309ac30-0d11-11e4-9191-0800200c9a66"))
                    {
                        If (Arg2 == 0) { Return (Buffer () { 3 }) }
                        If (Arg2 == 1) { Return (SMRT (CNT1, STA1)) }
                    }
                    Return (Buffer () { 0 })
                }
            }
        }
    }
}
