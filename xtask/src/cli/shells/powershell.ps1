# Completion of `xtask` and `cargo xtask` for PowerShell: cargo xtask completions powershell | Out-String | Invoke-Expression
Register-ArgumentCompleter -Native -CommandName @('xtask', 'cargo') -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $words = @($commandAst.CommandElements | Where-Object { $_.Extent.StartOffset -lt $cursorPosition } | ForEach-Object { $_.Extent.Text })
    if ($words[0] -match 'cargo(\.exe)?$') {
        if ($words.Count -lt 2 -or $words[1] -ne 'xtask') { return }
        $words = @($words | Select-Object -Skip 1)
    }
    if ($wordToComplete -eq '') { $words += '' }
    $before = $env:XTASK_COMPLETE, $env:XTASK_COMPLETE_WORDS, $global:LASTEXITCODE
    $env:XTASK_COMPLETE = 'powershell'
    # Before 7.3 PowerShell drops empty arguments, so that their number has to be told.
    $env:XTASK_COMPLETE_WORDS = $words.Count
    $found = & '@XTASK@' -- @words 2>$null
    $env:XTASK_COMPLETE, $env:XTASK_COMPLETE_WORDS, $global:LASTEXITCODE = $before
    $found | Where-Object { $_ } | ForEach-Object {
        $value, $help = $_ -split "`t", 2
        if (-not $help) { $help = $value }
        $text = $value
        if ($value -notmatch '^[\w./:=+~-]+$') { $text = "'" + $value.Replace("'", "''") + "'" }
        [System.Management.Automation.CompletionResult]::new($text, $value, 'ParameterValue', $help)
    }
}
